// SPDX-License-Identifier: Apache-2.0
// Ways around the gate, each with the number of its row in the project's list of attacks.
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "harness.h"

namespace ds01::test {
namespace {

const std::string kContainerName = "docker-" + std::string(64, 'c') + ".scope";
const dev_t kGpu0Number = makedev(195, 0);

class Attack : public WithAgent {};

TEST_F(Attack, Row01EveryKindOfOpen) {
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_NONBLOCK, O_RDONLY | O_NOFOLLOW}) {
    expect_denied(kAlice, [&] {
      return run_as({.uid = kAlice}, [&] { return ::syscall(SYS_open, kGpu0, flags) >= 0 ? 0 : errno; });
    });
    expect_denied(kAlice, [&] {
      return run_as({.uid = kAlice}, [&] { return ::openat(AT_FDCWD, kGpu0, flags) >= 0 ? 0 : errno; });
    });
    expect_denied(kAlice, [&] {
      return run_as({.uid = kAlice}, [&] {
        open_how how = {};
        how.flags = static_cast<__u64>(flags);
        return ::syscall(SYS_openat2, AT_FDCWD, kGpu0, &how, sizeof how) >= 0 ? 0 : errno;
      });
    });
  }
  expect_allowed(0, [] { return open_as({}); });
}

TEST_F(Attack, Row02ReopenOfPathDescriptor) {
  expect_denied(kAlice, [] {
    return run_as({.uid = kAlice}, [] {
      const int path = ::open(kGpu0, O_PATH);
      if (path < 0) return -1;
      return open_errno(("/proc/self/fd/" + std::to_string(path)).c_str());
    });
  });
}

TEST_F(Attack, Row03OtherPathsToTheDevice) {
  ASSERT_EQ(::mkdir("/tmp/row3", 0755), 0);
  ASSERT_EQ(::symlink(kGpu0, "/tmp/row3/symlink"), 0);
  ASSERT_EQ(::link(kGpu0, "/dev/hardlink"), 0);
  ASSERT_EQ(::mknod("/tmp/row3/bind", S_IFREG | 0666, 0), 0);
  ASSERT_EQ(::mount(kGpu0, "/tmp/row3/bind", nullptr, MS_BIND, nullptr), 0);
  std::filesystem::create_directories("/dev/char");
  std::filesystem::create_symlink(kGpu0, "/dev/char/195:0");
  for (const char* path :
       {"/tmp/row3/symlink", "/dev/hardlink", "/tmp/row3/bind", "/dev/char/195:0", "/dev/../dev/./nvidia0"})
    expect_denied(kAlice, [&] { return open_as({.uid = kAlice}, path); });
  expect_denied(kAlice, [] {
    return run_as({}, [] {
      if (::chroot("/dev") != 0 || ::setresuid(kAlice, kAlice, kAlice) != 0) return -1;
      return open_errno("/nvidia0");
    });
  });
  ::umount("/tmp/row3/bind");
  ::unlink("/dev/hardlink");
  std::filesystem::remove_all("/tmp/row3");
  std::filesystem::remove("/dev/char/195:0");
}

TEST_F(Attack, Row04OwnNodeInContainer) {
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(0, [&] {
    return run_as({.cgroup = container.path(), .pid_namespace = true}, [] {
      ::unlink("/tmp/own-node");
      if (::mknod("/tmp/own-node", S_IFCHR | 0666, kGpu0Number) != 0) return -1;
      return open_errno("/tmp/own-node");
    });
  });
  const Cgroup allowed("/ds01.slice/" + kContainerName);
  expect_allowed(0, [&] {
    return run_as({.cgroup = allowed.path(), .pid_namespace = true}, [] { return open_errno("/tmp/own-node"); });
  });
  ::unlink("/tmp/own-node");
}

TEST_F(Attack, Row05DescriptorOfAnAllowedProcess) {
  // The holder belongs to alice (so that /proc lets her look), but has the device from root.
  int pipe_fds[2];
  int end_of_life[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  ASSERT_EQ(::pipe(end_of_life), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const int device = ::open(kGpu0, O_RDWR);
    if (::setresgid(kAlice, kAlice, kAlice) != 0 || ::setresuid(kAlice, kAlice, kAlice) != 0) ::_exit(1);
    // A process that changed its uid is not dumpable, and /proc would hide its descriptors: exec makes it so again.
    ::dup2(device, 100);
    ::dup2(pipe_fds[1], STDOUT_FILENO);
    ::dup2(end_of_life[0], STDIN_FILENO);
    ::execlp("sh", "sh", "-c", "echo up; read x", nullptr);
    ::_exit(1);
  }
  ::close(std::exchange(pipe_fds[1], -1));
  char byte;
  ASSERT_EQ(::read(pipe_fds[0], &byte, 1), 1);
  const auto path = "/proc/" + std::to_string(holder) + "/fd/100";
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice}, path.c_str()); });
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  for (const int fd : {pipe_fds[0], pipe_fds[1], end_of_life[0], end_of_life[1]}) ::close(fd);
}

// One open by io_uring; `flags` IOSQE_ASYNC hands it to a worker of the kernel's. The errno.
int open_by_io_uring(const char* path, __u8 flags) {
  io_uring_params params = {};
  const Fd ring(static_cast<int>(::syscall(__NR_io_uring_setup, 4, &params)));
  if (!ring) return -1;
  const auto map = [&](std::size_t size, off_t what) {
    return static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), what));
  };
  char* submit = map(params.sq_off.array + params.sq_entries * sizeof(__u32), IORING_OFF_SQ_RING);
  char* complete = map(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
  auto* entry = reinterpret_cast<io_uring_sqe*>(map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
  *entry = {};
  entry->opcode = IORING_OP_OPENAT;
  entry->flags = flags;
  entry->fd = AT_FDCWD;
  entry->addr = reinterpret_cast<__u64>(path);
  entry->open_flags = O_RDWR;
  reinterpret_cast<__u32*>(submit + params.sq_off.array)[0] = 0;
  std::atomic_ref(*reinterpret_cast<__u32*>(submit + params.sq_off.tail)).store(1);
  if (::syscall(__NR_io_uring_enter, ring.get(), 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1) return -1;
  const int result = reinterpret_cast<io_uring_cqe*>(complete + params.cq_off.cqes)[0].res;
  return result < 0 ? -result : 0;
}

TEST_F(Attack, Row06IoUring) {
  for (const __u8 flags : {__u8{0}, __u8{IOSQE_ASYNC}}) {
    expect_denied(kAlice, [&] { return run_as({.uid = kAlice}, [&] { return open_by_io_uring(kGpu0, flags); }); });
    expect_allowed(0, [&] { return run_as({}, [&] { return open_by_io_uring(kGpu0, flags); }); });
  }
}

TEST_F(Attack, Row07UserNamespaceRoot) {
  expect_denied(kAlice, [] { return open_as({.uid = kAlice, .user_namespace = true}); });
  // A subordinate uid of a rootless container: another uid on the host, and seen as that.
  constexpr uid_t kSubordinate = 165537;
  expect_denied(kSubordinate, [] { return open_as({.uid = kSubordinate}); });
}

TEST_F(Attack, Row08NewNamespaces) {
  expect_denied(kAlice, [] {
    return run_as({.uid = kAlice, .user_namespace = true}, [] {
      if (::unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS) != 0) return -1;
      return open_errno(kGpu0);
    });
  });
  expect_denied(kAlice, [] { return open_as({.uid = kAlice, .pid_namespace = true}); });
}

// A set-uid program of mallory's, who is exempt: what exec makes of the caller's ids. The real one counts.
TEST_F(Attack, Row09SetuidHelperOfAnAllowedUser) {
  expect_denied(kAlice, [] {
    return run_as({}, [] {
      if (::setresuid(kAlice, kMallory, kMallory) != 0) return -1;
      return open_errno(kGpu0);
    });
  });
  expect_allowed(kMallory, [] { return open_as({.uid = kMallory}); });
}

TEST_F(Attack, Row10ContainerRootWithAndWithoutHostPids) {
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(0, [&] { return open_as({.cgroup = container.path(), .pid_namespace = true}); });
  expect_denied(0, [&] { return open_as({.cgroup = container.path()}); });
}

TEST_F(Attack, Row11ChildCgroups) {
  const Cgroup allowed("/ds01.slice/ds01-x.slice/own-child");
  expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = allowed.path()}); });
  const Cgroup denied("/system.slice/" + kContainerName + "/own-child");
  expect_denied(0, [&] { return open_as({.cgroup = denied.path()}); });
}

TEST_F(Attack, Row12SliceOfTheSameNameElsewhere) {
  const Cgroup own("/user.slice/user-1000.slice/user@1000.service/ds01.slice/app");
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = own.path()}); });
}

TEST_F(Attack, Row18DeviceThatTheGrantDoesNotCover) {
  ASSERT_EQ(ctl({"grant", "alice", "1h", "--gpus", "1"}).code, 0);
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}); });
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}, kGpu1); });
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}, kCapability); }, "capability");
  ASSERT_EQ(ctl({"grant", "alice", "2h", "--caps", "nvidia-cap1"}).code, 0);
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}, kCapability); });
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}, "/dev/nvidia-caps/nvidia-cap2"); }, "capability");
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
}

std::string major_of(const std::string& name) {
  std::ifstream devices("/proc/devices");
  for (std::string major, driver; devices >> major >> driver;)
    if (driver == name) return major;
  return "";
}

// The driver comes back under another major while the agent cannot hear of it.
TEST_F(Attack, Row19ReloadedDriverBeforeTheAgentKnows) {
  const auto before = major_of("nvidia-uvm");
  ASSERT_EQ(::kill(agent().pid(), SIGSTOP), 0);
  ASSERT_EQ(run_command({"rmmod", "ds01_stub"}).code, 0);
  ASSERT_EQ(run_command({"stub-load", "3"}).code, 0);
  EXPECT_NE(major_of("nvidia-uvm"), before);
  EXPECT_EQ(open_as({.uid = kAlice}, kCompute), EACCES);
  EXPECT_EQ(open_as({.uid = kAlice}, kCapability), EACCES);
  EXPECT_EQ(open_as({}, kCompute), 0);
  ASSERT_EQ(::kill(agent().pid(), SIGCONT), 0);
  EXPECT_GE(denials_of(kAlice, "compute").denied, 1);
  EXPECT_EQ(open_as({.uid = kAlice}, kCompute), EACCES);
  ASSERT_EQ(run_command({"rmmod", "ds01_stub"}).code, 0);
  ASSERT_EQ(run_command({"stub-load"}).code, 0);
}

// The runtimes' own cgroups are exempt for the user of NVIDIA's hook; what is made below them is not.
TEST_F(Attack, Row29ChildOfAnExemptRuntimesCgroup) {
  constexpr uid_t kHookUser = 65534;
  const Cgroup runtime("/system.slice/docker.service");
  const Cgroup child("/system.slice/docker.service/child");
  const auto known = [&] { return open_as({.uid = kHookUser, .cgroup = runtime.path()}) == 0; };
  ASSERT_TRUE(eventually(known));  // the agent hears of the new cgroup
  expect_denied(kHookUser, [&] { return open_as({.uid = kHookUser, .cgroup = child.path()}); });
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = runtime.path()}); });
  expect_allowed(kHookUser, [&] { return open_as({.uid = kHookUser, .cgroup = runtime.path()}); });
}

TEST_F(Attack, Row21GrantByAnybodyElse) {
  const auto refused = [](const As& as) {
    const auto outcome = ctl({"grant", "alice", "1h"}, as);
    EXPECT_EQ(outcome.code, 1) << outcome.out << outcome.err;
    EXPECT_NE(outcome.err.find("admin"), std::string::npos) << outcome.err;
    EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
  };
  refused({.uid = kAlice});
  const Cgroup container("/system.slice/" + kContainerName);
  refused({.cgroup = container.path()});
  refused({.cgroup = container.path(), .pid_namespace = true});
  refused({.uid = kCarol, .cgroup = container.path()});
  const auto line = agent().wait_for_audit(
      "refused", [](const json::object& entry) { return entry.at("unmapped").at("user").as_string() == "alice"; });
  EXPECT_NE(line.at("message").as_string().find("POST /v1/grants"), json::string::npos);
  EXPECT_EQ(ctl({"grant", "bob", "1h"}, {.uid = kCarol}).code, 0);  // an admin by group, on the host
  EXPECT_EQ(ctl({"revoke", "bob"}, {.uid = kCarol}).code, 0);
}

// Sends `text` over a connected socket and returns the status of the answer.
int send_request(int fd, const std::string& text) {
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) return -1;
  char answer[512] = {};
  if (::recv(fd, answer, sizeof answer - 1, 0) <= 0) return -1;
  return std::atoi(answer + std::strlen("HTTP/1.1 "));
}

std::string grant_request(const std::string& body) {
  return "POST /v1/grants HTTP/1.1\r\nHost: ds01\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

int connect_to(const char* path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
}

TEST_F(Attack, Row21AdminSocketPassedToAnother) {
  const int connected = connect_to("/run/ds01/admin.sock");
  ASSERT_GE(connected, 0);
  const auto request = grant_request(R"({"subject": "alice"})");
  const int status = run_as({.uid = kAlice}, [&] { return send_request(connected, request) == 403 ? 0 : 1; });
  EXPECT_EQ(status, 0);
  ::close(connected);
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
  agent().wait_for_audit("refused", [](const json::object&) { return true; });
}

TEST_F(Attack, Row21ForgedBodies) {
  for (const char* body :
       {R"({"subject": "alice", "admin": true})", R"({"subject": "alice", "granted_by": {"uid": 0}})", R"([])",
        R"(null)", R"({"subject": ["alice"]})", R"({"subject": "alice", "duration_s": -1})",
        R"({"subject": "alice", "duration_s": 1e99})", R"({"subject": "alice")", "{\"subject\": \"alice\\u0000\"}",
        "\xff\xfe"}) {
    const int fd = connect_to("/run/ds01/admin.sock");
    const int status = send_request(fd, grant_request(body));
    EXPECT_TRUE(status == 400 || status == 404) << status << " for " << body;
    ::close(fd);
  }
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
}

TEST_F(Attack, Row26NameOfAnExemptService) {
  expect_denied(kAlice, [] {
    return run_as({.uid = kAlice}, [] {
      if (::prctl(PR_SET_NAME, "nvidia-persiste") != 0) return -1;
      return open_errno(kGpu0);
    });
  });
}

TEST_F(Attack, Row28GrantedUidInContainer) {
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path(), .pid_namespace = true}); });
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path()}); });
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}); });
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
}

TEST_F(Attack, Row30AdminSocketFromContainer) {
  const char* path = "/run/ds01/admin.sock";
  const auto before = denials_of(0, "admin.sock");
  const Cgroup container("/system.slice/" + kContainerName);
  EXPECT_EQ(run_as({}, [&] { return connect_errno(path); }), 0);
  EXPECT_EQ(run_as({.cgroup = container.path(), .pid_namespace = true}, [&] { return connect_errno(path); }), EACCES);
  EXPECT_EQ(run_as({.cgroup = container.path()}, [&] { return connect_errno(path); }), EACCES);
  // Bind-mounted elsewhere it is the same listener.
  ASSERT_EQ(::mknod("/tmp/admin-alias", S_IFREG | 0600, 0), 0);
  ASSERT_EQ(::mount(path, "/tmp/admin-alias", nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ(
      run_as({.cgroup = container.path(), .pid_namespace = true}, [] { return connect_errno("/tmp/admin-alias"); }),
      EACCES);
  EXPECT_EQ(run_as({}, [] { return connect_errno("/tmp/admin-alias"); }), 0);
  ::umount("/tmp/admin-alias");
  ::unlink("/tmp/admin-alias");
  const auto line = agent().wait_for_audit(
      "denial", [](const json::object& entry) { return entry.at("unmapped").at("hook").as_string() == "connect"; });
  EXPECT_EQ(line.at("unmapped").at("class").as_string(), "admin.sock");
  EXPECT_EQ(denials_of(0, "admin.sock").denied, before.denied + 3);
  // The gate on the admin socket does not follow the mode of the GPU gate.
  ASSERT_EQ(ctl({"mode", "disabled"}).code, 0);
  EXPECT_EQ(run_as({.cgroup = container.path()}, [&] { return connect_errno(path); }), EACCES);
  ASSERT_EQ(ctl({"mode", "--default"}).code, 0);
}

// The pid of the peer is used again: root connects on the host and is gone before the request; root in a container has
// its pid and the connection.
TEST_F(Attack, Row30PidOfThePeerReused) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const Cgroup container("/system.slice/" + kContainerName);
  const pid_t connector = ::fork();
  if (connector == 0) {
    const int fd = connect_to("/run/ds01/admin.sock");
    ::_exit(send_descriptor(pair[1], fd) ? 0 : 1);
  }
  Fd received = receive_descriptor(pair[0]);
  ASSERT_TRUE(received);
  const int passed = received.get();
  int status;
  ASSERT_EQ(::waitpid(connector, &status, 0), connector);

  const Fd last_pid(::open("/proc/sys/kernel/ns_last_pid", O_WRONLY));
  const auto wanted = std::to_string(connector - 1);
  ASSERT_EQ(::write(last_pid.get(), wanted.data(), wanted.size()), static_cast<ssize_t>(wanted.size()));
  const pid_t reuser = ::fork();
  if (reuser == 0) {
    const Fd procs(::open(("/sys/fs/cgroup" + container.path() + "/cgroup.procs").c_str(), O_WRONLY));
    if (::write(procs.get(), "0", 1) != 1) ::_exit(2);
    ::_exit(send_request(passed, grant_request(R"({"subject": "mallory"})")) == 403 ? 0 : 1);
  }
  ASSERT_EQ(reuser, connector) << "the pid could not be used again; the test proves nothing";
  ASSERT_EQ(::waitpid(reuser, &status, 0), reuser);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
  for (const int fd : pair) ::close(fd);
}

// A flood by one user is counted exactly and hides nobody else's denial.
TEST(AttackFlood, Row20FloodHidesNobody) {
  constexpr int kFlood = 1'000'000;
  Agent agent;
  const auto before = denials_of(kAlice);
  const int wrong = run_as({.uid = kAlice}, [] {
    int others = 0;
    for (int i = 0; i < kFlood; ++i)
      if (::open(kGpu0, O_RDWR) >= 0 || errno != EACCES) ++others;
    return others == 0 ? 0 : 1;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_EQ(denials_of(kAlice).denied, before.denied + kFlood);
  EXPECT_EQ(denials_of(kBob).denied, 1);
  agent.wait_for_audit("denial",
                       [](const json::object& line) { return line.at("unmapped").at("user").as_string() == "bob"; });
  EXPECT_EQ(ctl_json({"status"}).at("events_lost_total").as_int64(), 0);
  EXPECT_EQ(ctl_json({"status"}).at("denials_total").as_int64(), kFlood + 1);

  // What was not written one by one is summed up, exactly, when the agent stops.
  std::int64_t written = 0;
  EXPECT_EQ(agent.stop(), 0);
  for (const auto& line : agent.audit("denial")) written += line.at("unmapped").at("user").as_string() == "alice";
  EXPECT_GT(written, 0);
  const auto summaries = agent.audit("summary");
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].at("unmapped").at("suppressed").as_int64(), kFlood - written);
}

}  // namespace
}  // namespace ds01::test
