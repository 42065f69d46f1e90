// SPDX-License-Identifier: Apache-2.0
#include "kernel/selftest.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "core/fd.h"
#include "core/files.h"

namespace ds01::kernel {
namespace {

constexpr const char* kDevice = "/dev/full";  // the least used of the devices that every Linux has

ds01_rule selftest_rule() {
  ds01_rule rule = {};
  rule.device_class = DS01_CLASS_SELFTEST;
  rule.mode = DS01_MODE_FULL;
  rule.mode_until = DS01_NEVER;
  rule.thread = static_cast<std::uint32_t>(::gettid());
  return rule;
}

// A listener that exists for the length of the test.
class Listener {
 public:
  static Result<Listener> make(const std::filesystem::path& folder) {
    Listener listener;
    listener.path_ = folder / ".selftest.sock";
    listener.address_.sun_family = AF_UNIX;
    const std::string path = listener.path_.string();
    if (path.size() >= sizeof listener.address_.sun_path)
      return fail(ErrorCode::invalid, fmt::format("{}: too long for a socket path", path));
    std::memcpy(listener.address_.sun_path, path.c_str(), path.size() + 1);
    ::unlink(path.c_str());
    listener.fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener.fd_ || ::bind(listener.fd_.get(), listener.address(), sizeof listener.address_) != 0 ||
        ::listen(listener.fd_.get(), 1) != 0)
      return fail_errno(path);
    return listener;
  }
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = default;
  ~Listener() {
    if (fd_) ::unlink(path_.c_str());
  }

  const std::filesystem::path& path() const { return path_; }

  int try_connect() const {
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(client.get(), address(), sizeof address_) == 0 ? 0 : errno;
  }

 private:
  Listener() = default;
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  std::filesystem::path path_;
  sockaddr_un address_ = {};
  Fd fd_;
};

int try_open() {
  Fd fd(::open(kDevice, O_WRONLY | O_CLOEXEC));
  return fd ? 0 : errno;
}

Result<std::vector<Rule>> with_selftest(std::span<const Rule> rules, const Listener& listener) {
  DS01_TRY(const auto socket, socket_key(listener.path()));
  std::vector<Rule> all(rules.begin(), rules.end());
  all.push_back({{DS01_DEV(1U, 7U), DS01_RULE_DEVICE, 0}, selftest_rule()});
  all.push_back({socket, selftest_rule()});
  return all;
}

std::uint64_t selftest_denials(const std::vector<Count>& counts, std::uint16_t hook) {
  for (const auto& count : counts)
    if (count.key.device_class == DS01_CLASS_SELFTEST && count.key.hook == hook)
      return count.value.verdicts[DS01_DENIED];
  return 0;
}

Status expect_denial(const char* hook, int error) {
  if (error == EACCES) return {};
  return fail(
      ErrorCode::unavailable,
      fmt::format("the self-test of {} was not denied ({}): the kernel accepted the programs but does not run them; "
                  "see that 'bpf' is in the LSM list (cat /sys/kernel/security/lsm)",
                  hook, error == 0 ? "it succeeded" : std::strerror(error)));
}

using Take = std::function<void(const ds01_event&)>;

// Reads the ring to its end; how many events were this process's own, from the programs under test.
Result<int> own_events(Gate& gate, const Take& take) {
  int own = 0;
  DS01_CHECK(gate.consume_events([&](const ds01_event& event) {
    if (event.device_class != DS01_CLASS_SELFTEST) {
      if (take) take(event);
    } else if (event.tgid == static_cast<std::uint32_t>(::getpid()) && event.generation == gate.generation()) {
      ++own;
    }
  }));
  return own;
}

// Provokes the denials and looks for what they must have left behind.
Status provoke(Gate& gate, const Listener& listener, const Take& take) {
  // A ring that filled up while no agent ran would have no room for the proof.
  DS01_CHECK(own_events(gate, take));
  DS01_TRY(const auto before, gate.counts());
  DS01_CHECK(expect_denial("open()", try_open()));
  DS01_CHECK(expect_denial("connect()", listener.try_connect()));
  DS01_TRY(const auto after, gate.counts());
  for (const std::uint16_t hook : {DS01_HOOK_OPEN, DS01_HOOK_CONNECT})
    if (selftest_denials(after, hook) != selftest_denials(before, hook) + 1)
      return fail(ErrorCode::unavailable, "the self-test was denied but not counted");
  DS01_TRY(const int events, own_events(gate, take));
  if (events != 2) return fail(ErrorCode::unavailable, "the self-test was denied but its events did not arrive");
  return {};
}

}  // namespace

Result<ds01_rule_key> socket_key(const std::filesystem::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return fail_errno(path.string());
  return ds01_rule_key{status.st_ino, DS01_RULE_SOCKET, DS01_DEV(major(status.st_dev), minor(status.st_dev))};
}

Status check_lsm_list(const std::filesystem::path& list) {
  const auto text = read_file(list, 4096);
  if (!text) return {};
  const auto names = split(std::string_view(*text).substr(0, text->find('\n')), ',');
  if (std::ranges::find(names, "bpf") != names.end()) return {};
  return fail(ErrorCode::unavailable,
              fmt::format("the kernel's LSM list lacks 'bpf' (it is {}): add lsm={},bpf to the kernel command line and "
                          "reboot",
                          text->substr(0, text->find('\n')), text->substr(0, text->find('\n'))));
}

Status self_test(Gate& gate, std::span<const Rule> rules, const std::filesystem::path& folder, const Take& take) {
  DS01_TRY(const auto listener, Listener::make(folder));
  DS01_TRY(const auto tested, with_selftest(rules, listener));
  DS01_CHECK(gate.set_policy(tested));
  const auto proven = provoke(gate, listener, take);
  const auto restored = gate.set_policy(rules);
  if (!proven) return proven;
  return restored;
}

}  // namespace ds01::kernel
