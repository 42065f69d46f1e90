// SPDX-License-Identifier: Apache-2.0
// Descriptors that somebody has without having opened the device: passed on, taken, inherited. Each with the number of
// its row in the project's list of attacks.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "harness.h"

namespace ds01::test {
namespace {

const std::string kContainerName = "docker-" + std::string(64, 'd') + ".scope";

int ioctl_errno(int fd) {
  int unread = 0;
  return ::ioctl(fd, FIONREAD, &unread) == 0 ? 0 : errno;
}

// The same as a 32-bit program does it: by the system call gate of those, number 54.
int compat_ioctl_errno(int fd) {
  long result;
  asm volatile("int $0x80" : "=a"(result) : "a"(54L), "b"(static_cast<long>(fd)), "c"(FIONREAD), "d"(0L) : "memory");
  return static_cast<int>(-result);
}

int mmap_errno(int fd) {
  void* memory = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return errno;
  ::munmap(memory, 4096);
  return 0;
}

struct SocketPair {
  int ends[2];
  SocketPair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0); }
  ~SocketPair() {
    for (const int end : ends) ::close(end);
  }
};

class Descriptor : public WithAgent {
 protected:
  // Root opens the device and sends it; the receiver says whether it came, in the form of an errno.
  static int receive_as(const As& as, const char* path = kGpu0) {
    const SocketPair sockets;
    const Fd device(::open(path, O_RDWR));
    EXPECT_TRUE(device && send_descriptor(sockets.ends[0], device.get()));
    return run_as(as, [&] { return receive_descriptor(sockets.ends[1]) ? 0 : EACCES; });
  }

  // The device is opened by root, and used by whom `as` describes.
  static int use_as(const As& as, const std::function<int(int)>& use) {
    const Fd device(::open(kGpu0, O_RDWR));
    EXPECT_TRUE(device);
    return run_as(as, [&] { return use(device.get()); });
  }
};

TEST_F(Descriptor, Row13PassedToADeniedUser) {
  expect_denied(kAlice, [] { return receive_as({.uid = kAlice}); }, "gpu", "receive");
}

TEST_F(Descriptor, Row13PassedIntoAContainerElsewhere) {
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(0, [&] { return receive_as({.cgroup = container.path()}); }, "gpu", "receive");
}

TEST_F(Descriptor, Row13PassedBetweenAllowedProcesses) {
  const Cgroup slice("/ds01.slice/nccl");
  expect_allowed(0, [] { return receive_as({}); });
  expect_allowed(kAlice, [&] { return receive_as({.uid = kAlice, .cgroup = slice.path()}); });
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  expect_allowed(kAlice, [] { return receive_as({.uid = kAlice}); });
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
}

TEST_F(Descriptor, OtherDescriptorsPass) {
  expect_allowed(kAlice, [] { return receive_as({.uid = kAlice}, "/dev/null"); });
  expect_allowed(kAlice, [] { return receive_as({.uid = kAlice}, "/etc/passwd"); });
}

// The holder is alice's own process, so that she may look into it, and has the device from root.
TEST_F(Descriptor, Row13TakenByPidfdGetfd) {
  int up[2], life[2];
  ASSERT_TRUE(::pipe(up) == 0 && ::pipe(life) == 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const int device = ::open(kGpu0, O_RDWR);
    if (::setresgid(kAlice, kAlice, kAlice) != 0 || ::setresuid(kAlice, kAlice, kAlice) != 0) ::_exit(1);
    ::dup2(device, 100);
    ::dup2(up[1], STDOUT_FILENO);
    ::dup2(life[0], STDIN_FILENO);
    ::execlp("sh", "sh", "-c", "echo up; read x", nullptr);  // dumpable again
    ::_exit(1);
  }
  char byte;
  ASSERT_EQ(::read(up[0], &byte, 1), 1);
  const auto take = [&](int number) {
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, holder, 0)));
    const Fd taken(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    return taken ? 0 : errno;
  };
  expect_denied(kAlice, [&] { return run_as({.uid = kAlice}, [&] { return take(100); }); }, "gpu", "receive");
  expect_allowed(kAlice, [&] { return run_as({.uid = kAlice}, [&] { return take(STDIN_FILENO); }); });
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  for (const int fd : {up[0], up[1], life[0], life[1]}) ::close(fd);
}

TEST_F(Descriptor, Row14InheritedThenUsed) {
  expect_denied(kAlice, [] { return use_as({.uid = kAlice}, ioctl_errno); }, "gpu", "ioctl");
  expect_denied(kAlice, [] { return use_as({.uid = kAlice}, mmap_errno); }, "gpu", "mmap");
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(0, [&] { return use_as({.cgroup = container.path()}, ioctl_errno); }, "gpu", "ioctl");
  expect_allowed(0, [] { return use_as({}, ioctl_errno); });
  expect_allowed(0, [] { return use_as({}, mmap_errno); });
}

TEST_F(Descriptor, Row14UsedByA32BitCall) {
  expect_denied(kAlice, [] { return use_as({.uid = kAlice}, compat_ioctl_errno); }, "gpu", "ioctl");
  expect_allowed(0, [] { return use_as({}, compat_ioctl_errno); });
}

// setuid() in the process that has it open, and exec after it: the descriptor stays, its use does not.
TEST_F(Descriptor, Row14KeptOverSetuidAndExec) {
  expect_denied(
      kAlice,
      [] {
        return run_as({}, [] {
          const int device = ::open(kGpu0, O_RDWR);
          if (ioctl_errno(device) != 0 || ::setresuid(kAlice, kAlice, kAlice) != 0) return -1;
          return ioctl_errno(device);
        });
      },
      "gpu", "ioctl");
}

// What a user has open from before the agent's time, or from when they had a grant.
TEST_F(Descriptor, Row15KeptFromAGrantThatEnded) {
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  const SocketPair sockets;
  const pid_t user = ::fork();
  if (user == 0) {
    ::_exit(run_as({.uid = kAlice}, [&] {
      const int device = ::open(kGpu0, O_RDWR);
      char byte = device >= 0 && ioctl_errno(device) == 0 ? 'y' : 'n';
      if (::write(sockets.ends[1], &byte, 1) != 1 || ::read(sockets.ends[1], &byte, 1) != 1) return 1;
      return ioctl_errno(device) == EACCES && mmap_errno(device) == EACCES ? 0 : 2;
    }));
  }
  char byte = 0;
  ASSERT_EQ(::read(sockets.ends[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  const auto before = denials_of(kAlice);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  ASSERT_EQ(::write(sockets.ends[0], &byte, 1), 1);
  int status;
  ASSERT_EQ(::waitpid(user, &status, 0), user);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(denials_of(kAlice).denied, before.denied + 2);
}

TEST(DescriptorBefore, Row15OpenedBeforeTheAgentStarted) {
  forget_agents();
  const Fd device(::open(kGpu0, O_RDWR));
  ASSERT_TRUE(device);
  EXPECT_EQ(run_as({.uid = kAlice}, [&] { return ioctl_errno(device.get()); }), 0);
  Agent agent;
  EXPECT_EQ(run_as({.uid = kAlice}, [&] { return ioctl_errno(device.get()); }), EACCES);
  EXPECT_EQ(run_as({.uid = kAlice}, [&] { return mmap_errno(device.get()); }), EACCES);
  EXPECT_EQ(denials_of(kAlice).denied, 2);
}

}  // namespace
}  // namespace ds01::test
