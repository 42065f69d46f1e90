// SPDX-License-Identifier: Apache-2.0
// Row 24: root in a container takes the gate off, rewrites its maps or stops its agent. Root on the host may.
#include <bpf/bpf.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "pinned.h"

namespace ds01::test {
namespace {

class Guard : public WithAgent {
 protected:
  static inline const std::string kContainer = "/system.slice/docker-" + std::string(64, 'e') + ".scope";

  // As root in a container that shares the host's namespaces, which is how far `docker run --privileged` gets.
  static void expect_guarded(const std::string& hook, const std::function<int()>& act) {
    const Cgroup container(kContainer);
    expect_denied(0, [&] { return run_as({.cgroup = container.path()}, act); }, "gate", hook);
  }
};

int errno_of(long result) { return result < 0 ? errno : 0; }

std::uint32_t id_of_pinned_map() {
  bpf_map_info info = {};
  std::uint32_t size = sizeof info;
  const Fd map = pinned("grants");
  EXPECT_EQ(bpf_obj_get_info_by_fd(map.get(), &info, &size), 0);
  return info.id;
}

TEST_F(Guard, Row24PinsAreNotRemoved) {
  const auto link = kPinFolder + "/link_ds01_file_ioctl";
  const auto other = kPinFolder + "/elsewhere";
  expect_guarded("unlink", [&] { return errno_of(::unlink(link.c_str())); });
  expect_guarded("unlink", [&] { return errno_of(::rename(link.c_str(), other.c_str())); });
  expect_guarded("unlink", [&] { return errno_of(::rename(link.c_str(), "/sys/fs/bpf/elsewhere")); });
  expect_guarded("unlink", [&] { return errno_of(::rmdir(kPinFolder.c_str())); });
  EXPECT_EQ(::access(link.c_str(), F_OK), 0);
}

TEST_F(Guard, Row24TheirFileSystemIsNotUnmounted) {
  expect_guarded("umount", [] { return errno_of(::umount2("/sys/fs/bpf", 0)); });
  expect_guarded("umount", [] { return errno_of(::umount2("/sys/fs/bpf", MNT_DETACH)); });
}

// Other mounts of a container, and other files on BPF file systems, are its own business.
TEST_F(Guard, OtherMountsAndPinsAreNotGuarded) {
  const Cgroup container(kContainer);
  expect_allowed(0, [&] {
    return run_as({.cgroup = container.path()}, [] {
      if (::mkdir("/tmp/own-bpffs", 0700) != 0 || ::mount("bpf", "/tmp/own-bpffs", "bpf", 0, nullptr) != 0) return 1;
      if (::mkdir("/tmp/own-bpffs/folder", 0700) != 0 || ::rmdir("/tmp/own-bpffs/folder") != 0) return 2;
      if (::umount("/tmp/own-bpffs") != 0 || ::rmdir("/tmp/own-bpffs") != 0) return 3;
      return 0;
    });
  });
}

TEST_F(Guard, Row24MapsAreNotOpened) {
  const auto id = id_of_pinned_map();
  expect_guarded("map", [&] { return errno_of(bpf_map_get_fd_by_id(id)); });
  expect_guarded("map", [] { return errno_of(bpf_obj_get((kPinFolder + "/grants").c_str())); });
  expect_guarded("map", [] { return errno_of(bpf_obj_get((kPinFolder + "/policy").c_str())); });
  const Fd map(bpf_map_get_fd_by_id(id));  // root on the host
  EXPECT_TRUE(map);
}

TEST_F(Guard, Row24ProgramsAreNotOpened) {
  const auto id = pinned_program_id();
  expect_guarded("program", [&] { return errno_of(bpf_prog_get_fd_by_id(id)); });
  EXPECT_TRUE(Fd(bpf_prog_get_fd_by_id(id)));
}

TEST_F(Guard, Row24AgentIsNotSignalled) {
  const pid_t pid = agent().pid();
  for (const int signal : {SIGTERM, SIGKILL, SIGSTOP, SIGHUP})
    expect_guarded("kill", [&] { return errno_of(::kill(pid, signal)); });
  expect_guarded("kill", [&] {
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    return errno_of(::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0));
  });
  const Cgroup container(kContainer);
  EXPECT_EQ(run_as({.cgroup = container.path()}, [&] { return errno_of(::kill(pid, 0)); }), 0);  // only asks
  EXPECT_EQ(ctl({"status"}).code, 0);
}

TEST_F(Guard, Row24AgentIsNotTraced) {
  const pid_t pid = agent().pid();
  expect_guarded("ptrace", [&] { return errno_of(::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr)); });
  expect_guarded("ptrace", [&] { return open_errno(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDWR); });
}

// Another process of the container is nobody's business, nor is one that has the agent's pid later.
TEST_F(Guard, OtherProcessesAreNotGuarded) {
  const Cgroup container(kContainer);
  expect_allowed(0, [&] {
    return run_as({.cgroup = container.path()}, [] {
      const pid_t child = ::fork();
      if (child == 0) ::pause();
      return errno_of(::kill(child, SIGKILL));
    });
  });
}

}  // namespace
}  // namespace ds01::test
