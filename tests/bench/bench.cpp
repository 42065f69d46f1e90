// SPDX-License-Identifier: Apache-2.0
// What the gate costs. Runs as root in the VM under `-icount shift=0`, where one nanosecond is one instruction: the
// same system calls without and with the programs attached, in one boot. Prints a JSON object of figures.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/fd.h"
#include "core/paths.h"
#include "identity/cgroups.h"
#include "kernel/gate.h"
#include "kernel/programs.h"
#include "kernel/selftest.h"
#include "policy/policy.h"

namespace {

using namespace ds01;
namespace json = boost::json;

constexpr uid_t kGranted = 1000;
constexpr uid_t kDenied = 1001;
constexpr int kRounds = 301;
constexpr const char* kCgroups = "/sys/fs/cgroup";
constexpr const char* kDevice = "/dev/nvidia0";
constexpr const char* kFile = "/tmp/bench-file";
constexpr const char* kListener = "/tmp/bench-socket";

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  ::_exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) die(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

long now() {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000L + time.tv_nsec;
}

// The median cost of `act` in a child that belongs to `uid` and lies in `cgroup`; an error other than `expected` ends
// it.
long measure(uid_t uid, const std::string& cgroup, int expected, const std::function<int()>& act) {
  int pipe_fds[2];
  if (::pipe(pipe_fds) != 0) die("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    std::ofstream(kCgroups + cgroup + "/cgroup.procs") << "0" << std::flush;
    if (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) die("setresuid");
    std::vector<long> costs;
    for (int i = 0; i < kRounds; ++i) {
      const long begin = now();
      const int error = act();
      costs.push_back(now() - begin);
      if (error != expected) die("unexpected: " + std::string(std::strerror(error)));
    }
    std::ranges::nth_element(costs, costs.begin() + kRounds / 2);
    const long median = costs[kRounds / 2];
    ::_exit(::write(pipe_fds[1], &median, sizeof median) == sizeof median ? 0 : 1);
  }
  ::close(pipe_fds[1]);
  long median = 0;
  const bool ok = ::read(pipe_fds[0], &median, sizeof median) == sizeof median;
  ::close(pipe_fds[0]);
  ::waitpid(child, nullptr, 0);
  if (!ok) die("a measurement failed");
  return median;
}

int open_close(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

std::string make_cgroup(int depth) {
  std::string path;
  for (int i = 0; i < depth; ++i) {
    path += i == 0 ? "/user.slice" : i == 1 ? "/user-1000.slice" : "/d" + std::to_string(i);
    ::mkdir((kCgroups + path).c_str(), 0755);
  }
  return path;
}

// One system call each on a file, a mapping, a passed descriptor and a socket that nobody gates.
int ioctl_file() {
  static const Fd file(::open(kFile, O_RDONLY | O_CLOEXEC));
  int unread = 0;
  return ::ioctl(file.get(), FIONREAD, &unread) == 0 ? 0 : errno;
}

int mmap_file() {
  static const Fd file(::open(kFile, O_RDONLY | O_CLOEXEC));
  void* memory = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) return errno;
  return ::munmap(memory, 4096) == 0 ? 0 : errno;
}

int pass_file() {
  static const Fd file(::open(kFile, O_RDONLY | O_CLOEXEC));
  static const auto ends = [] {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_DGRAM, 0, fds.data()) != 0) die("socketpair");
    return fds;
  }();
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
  const int fd = file.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(ends[0], &message, 0) != 1 || ::recvmsg(ends[1], &message, 0) != 1) return errno;
  int received;
  std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  ::close(received);
  return 0;
}

int connect_listener() {
  const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, kListener, sizeof address.sun_path - 1);
  return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

// Nobody accepts: the backlog takes all connections, which end with their clients.
Fd listen_somewhere() {
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, kListener, sizeof address.sun_path - 1);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(kListener, 0666) != 0 || ::listen(listener.get(), 4096) != 0)
    die("listen");
  return listener;
}

// The costs of everything that the gate sees, in one state of the gate.
struct Costs {
  long file, null, granted, denied, granted_deep, denied_deep, ioctl, mmap, receive, connect;
};

Costs measure_all(bool attached) {
  const auto shallow = make_cgroup(4);
  const auto deep = make_cgroup(64);
  const int refused = attached ? EACCES : 0;
  const auto device = [] { return open_close(kDevice); };
  return {
      .file = measure(kGranted, shallow, 0, [] { return open_close(kFile); }),
      .null = measure(kGranted, shallow, 0, [] { return open_close("/dev/null"); }),
      .granted = measure(kGranted, shallow, 0, device),
      .denied = measure(kDenied, shallow, refused, device),
      .granted_deep = measure(kGranted, deep, 0, device),
      .denied_deep = measure(kDenied, deep, refused, device),
      .ioctl = measure(kDenied, shallow, 0, ioctl_file),
      .mmap = measure(kDenied, shallow, 0, mmap_file),
      .receive = measure(kDenied, shallow, 0, pass_file),
      .connect = measure(kDenied, shallow, 0, connect_listener),
  };
}

std::vector<policy::Rule> full_policy() {
  const identity::SystemUsers users;
  const identity::Cgroups cgroups(kCgroups);
  config::Config config;
  config.devices = config::default_devices();
  ::mkdir("/sys/fs/cgroup/ds01.slice", 0755);
  const auto resolved = must(policy::resolve(config, {}, users, cgroups));
  return policy::compile(resolved, {config::Mode::full, config::Mode::full, std::nullopt}, {});
}

void put_grants(kernel::Gate& gate, uid_t first, std::uint64_t count) {
  std::vector<grants::KernelGrant> entries;
  const auto ends = static_cast<std::uint64_t>(now()) + 3'600'000'000'000ULL;
  for (std::uint64_t i = 0; i < count; ++i)
    entries.push_back(
        {{first + i, DS01_SUBJECT_UID, 0}, {ends, i + 1, 0, {~0ULL, ~0ULL, ~0ULL, ~0ULL}, {}, DS01_BOOT_CLOCK, 0}, 0});
  must(gate.put(entries));
}

json::object figure(long value, long baseline, long goal, const char* unit = "instructions") {
  return {{"value", value}, {"unit", unit}, {"baseline", baseline}, {"goal", goal}};
}

// How much the kernel's verifier has to look at, for each program.
void add_verified(json::object& figures) {
  std::uint32_t id = 0;
  while (bpf_prog_get_next_id(id, &id) == 0) {
    const Fd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info = {};
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) continue;
    const std::string name(static_cast<const char*>(info.name));
    if (name.starts_with("ds01_")) figures["verified_" + name] = figure(info.verified_insns, 0, 30'000);
  }
}

// A deep task's first open walks the names of its cgroups once; then the answer is remembered.
void add_gate_figures(json::object& figures) {
  std::ofstream(kFile) << "x";
  ::chmod(kFile, 0644);
  const auto listener = listen_somewhere();
  const auto base = measure_all(false);
  auto gate = must(kernel::Gate::load(kernel::Backend::bpf_lsm, {"", kCgroups}));
  const auto rules = full_policy();
  must(gate->attach());
  must(kernel::self_test(*gate, rules, "/tmp"));
  put_grants(*gate, kGranted, 1);
  const auto with = measure_all(true);
  put_grants(*gate, 2'000'000, 100'000);
  const auto full = measure_all(true);

  figures["open_ungated_added_instructions"] = figure(with.file - base.file, base.file, 200);
  figures["open_null_added_instructions"] = figure(with.null - base.null, base.null, 600);
  figures["open_granted_added_instructions"] = figure(with.granted - base.granted, base.granted, 1500);
  figures["open_denied_instructions"] = figure(with.denied, base.denied, base.denied + 1500);
  figures["open_driver_instructions"] = figure(base.granted, base.granted, base.granted);
  figures["ioctl_ungated_added_instructions"] = figure(with.ioctl - base.ioctl, base.ioctl, 200);
  figures["mmap_ungated_added_instructions"] = figure(with.mmap - base.mmap, base.mmap, 200);
  figures["receive_ungated_added_instructions"] = figure(with.receive - base.receive, base.receive, 200);
  figures["connect_ungated_added_instructions"] = figure(with.connect - base.connect, base.connect, 900);
  add_verified(figures);
  const auto added = with.granted - base.granted;
  figures["open_granted_64_deep_added_instructions"] =
      figure(with.granted_deep - base.granted_deep, added, added + added / 10);
  figures["open_denied_64_deep_instructions"] = figure(with.denied_deep, with.denied, with.denied + with.denied / 10);
  figures["open_granted_100k_grants_added_instructions"] =
      figure(full.granted - base.granted, added, added + added / 10);
  figures["open_denied_100k_grants_instructions"] = figure(full.denied, with.denied, with.denied + with.denied / 10);
  figures["open_ungated_100k_grants_added_instructions"] = figure(full.file - base.file, base.file, 200);
}

// From the exec of ds01ctl to the end of the first open that succeeds, with a running ds01d.
void add_grant_to_open(json::object& figures) {
  std::vector<long> times;
  for (int i = 0; i < 5; ++i) {
    const std::string user = i % 2 == 0 ? "alice" : "bob";
    const uid_t uid = i % 2 == 0 ? 1000 : 1001;
    const long begin = now();
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(STDOUT_FILENO);
      ::open("/dev/null", O_WRONLY);
      ::execlp("ds01ctl", "ds01ctl", "grant", user.c_str(), "1h", nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0) die("ds01ctl grant failed");
    if (::setresuid(uid, uid, 0) != 0) die("setresuid");
    const int error = open_close(kDevice);
    times.push_back(now() - begin);
    if (::setresuid(0, 0, 0) != 0) die("setresuid");
    if (error != 0) die("the granted user is denied");
    if (std::system(("ds01ctl revoke " + user + " >/dev/null").c_str()) != 0) die("ds01ctl revoke failed");
  }
  std::ranges::sort(times);
  figures["grant_to_open_ms"] = {
      {"value", static_cast<double>(times[2]) / 1e6}, {"unit", "ms"}, {"baseline", 0}, {"goal", 20}};
}

}  // namespace

int main(int argc, char** argv) {
  json::object figures;
  if (argc > 1 && std::string(argv[1]) == "agent")
    add_grant_to_open(figures);
  else
    add_gate_figures(figures);
  std::puts(json::serialize(figures).c_str());
  return 0;
}
