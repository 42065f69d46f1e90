// SPDX-License-Identifier: Apache-2.0
#include "kernel/selftest.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "core/fd.h"

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

// One way to the device, and how a denial of it looks.
struct Probe {
  ds01_hook hook;
  const char* name;
  int (*act)(int device);  // 0 or the errno; `device` is open
};

int try_open(int) {
  const Fd fd(::open(kDevice, O_WRONLY | O_CLOEXEC));
  return fd ? 0 : errno;
}

int try_ioctl(int device) {
  int unread = 0;
  return ::ioctl(device, FIONREAD, &unread) == 0 ? 0 : errno;
}

int try_mmap(int device) {
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, device, 0);
  if (memory == MAP_FAILED) return errno;
  ::munmap(memory, size);
  return 0;
}

// Sends the descriptor to itself. One that is refused does not arrive, and there is no errno.
int try_receive(int device) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &device, sizeof device);
  if (::sendmsg(out.get(), &message, 0) != 1) return errno;
  if (::recvmsg(in.get(), &message, MSG_CMSG_CLOEXEC) != 1) return errno;
  header = CMSG_FIRSTHDR(&message);
  if (header == nullptr) return EACCES;
  int received;
  std::memcpy(&received, CMSG_DATA(header), sizeof received);
  ::close(received);
  return 0;
}

constexpr std::array kProbes{
    Probe{DS01_HOOK_OPEN, "open()", try_open},
    Probe{DS01_HOOK_IOCTL, "ioctl()", try_ioctl},
    Probe{DS01_HOOK_MMAP, "mmap()", try_mmap},
    Probe{DS01_HOOK_RECEIVE, "the passing of a descriptor", try_receive},
};

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

// A program on a cgroup cannot choose the errno before 5.18.
Status expect_denial(const Gate& gate, const char* hook, int error) {
  if (error == EACCES || (error == EPERM && gate.backend() == Backend::cgroup_device)) return {};
  return fail(
      ErrorCode::unavailable,
      fmt::format("the self-test of {} was not denied ({}): the kernel accepted the programs but does not run them; "
                  "see that 'bpf' is in the LSM list (cat /sys/kernel/security/lsm)",
                  hook, error == 0 ? "it succeeded" : std::strerror(error)));
}

using Take = std::function<void(const ds01_event&)>;

// Reads the ring to its end; how many events were this process's own, from the programs under test.
Result<std::size_t> own_events(Gate& gate, const Take& take) {
  std::size_t own = 0;
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
Status provoke(Gate& gate, int device, const Listener& listener, const Take& take) {
  // A ring that filled up while no agent ran would have no room for the proof.
  DS01_CHECK(own_events(gate, take));
  DS01_TRY(const auto before, gate.counts());
  std::vector<ds01_hook> proven;
  for (const auto& probe : kProbes) {
    if (!gate.has(probe.hook)) continue;
    DS01_CHECK(expect_denial(gate, probe.name, probe.act(device)));
    proven.push_back(probe.hook);
  }
  if (gate.has(DS01_HOOK_CONNECT)) {
    DS01_CHECK(expect_denial(gate, "connect()", listener.try_connect()));
    proven.push_back(DS01_HOOK_CONNECT);
  }
  DS01_TRY(const auto after, gate.counts());
  for (const auto hook : proven)
    if (selftest_denials(after, hook) != selftest_denials(before, hook) + 1)
      return fail(ErrorCode::unavailable, "the self-test was denied but not counted");
  DS01_TRY(const auto events, own_events(gate, take));
  if (events != proven.size())
    return fail(ErrorCode::unavailable, "the self-test was denied but its events did not arrive");
  return {};
}

}  // namespace

Result<ds01_rule_key> socket_key(const std::filesystem::path& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return fail_errno(path.string());
  return ds01_rule_key{status.st_ino, DS01_RULE_SOCKET, DS01_DEV(major(status.st_dev), minor(status.st_dev))};
}

Status self_test(Gate& gate, std::span<const Rule> rules, const std::filesystem::path& folder, const Take& take) {
  const Fd device(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device) return fail_errno(kDevice);
  DS01_TRY(const auto listener, Listener::make(folder));
  DS01_TRY(const auto tested, with_selftest(rules, listener));
  DS01_CHECK(gate.set_policy(tested));
  const auto proven = provoke(gate, device.get(), listener, take);
  const auto restored = gate.set_policy(rules);
  if (!proven) return proven;
  return restored;
}

}  // namespace ds01::kernel
