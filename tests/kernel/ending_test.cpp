// SPDX-License-Identifier: Apache-2.0
// What the end of a grant does to a process that still has the device open: soft, cut, kill.
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

namespace ds01::test {
namespace {

constexpr const char* kShortGraces = R"(
version: 1
mode: full
grants: {soft_grace: 8s, kill_grace: 3s}
audit: {limit: 100000, journald: false, json: /tmp/audit.jsonl}
)";

int ioctl_errno(int fd) {
  int unread = 0;
  return ::ioctl(fd, FIONREAD, &unread) == 0 ? 0 : errno;
}

// A process of alice's that has opened the device, does what it is told by one letter each, and answers with an errno:
// 'u' use it, 'o' open it anew, 'c' use it in a child. It ignores TERM.
class Holder {
 public:
  explicit Holder(const As& as) {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0);
    child_ = ::fork();
    if (child_ != 0) {
      ::close(ends_[1]);  // or a Holder made later would keep it open
      return;
    }
    ::close(ends_[0]);
    run_as(as, [&] {
      ::signal(SIGTERM, SIG_IGN);
      const int device = ::open(kGpu0, O_RDWR);
      answer(device >= 0 ? 0 : errno);
      for (char what; ::read(ends_[1], &what, 1) == 1;)
        answer(what == 'o'   ? open_errno(kGpu0)
               : what == 'u' ? ioctl_errno(device)
                             : run_as({}, [&] { return ioctl_errno(device); }));
      return 0;
    });
    ::_exit(0);
  }
  ~Holder() {
    ::close(ends_[0]);
    ::waitpid(child_, nullptr, 0);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  int opened() { return next(); }
  int ask(char what) {
    EXPECT_EQ(::write(ends_[0], &what, 1), 1);
    return next();
  }
  // Waits until the process has ended.
  void wait_for_end() {
    char byte;
    EXPECT_EQ(::read(ends_[0], &byte, 1), 0);
  }

 private:
  void answer(int error) {
    const char byte = static_cast<char>(error);
    if (::write(ends_[1], &byte, 1) != 1) ::_exit(1);
  }
  int next() {
    char byte = -1;
    EXPECT_EQ(::read(ends_[0], &byte, 1), 1);
    return byte;
  }
  int ends_[2];
  pid_t child_;
};

class Ending : public testing::Test {
 protected:
  Agent agent_{kShortGraces};
};

TEST_F(Ending, SoftGoesOnForOlderProcessesForAWhile) {
  ASSERT_EQ(ctl({"grant", "alice", "1h", "--on-expiry", "soft"}).code, 0);
  Holder holder({.uid = kAlice});
  ASSERT_EQ(holder.opened(), 0);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(holder.ask('u'), 0);
  EXPECT_EQ(holder.ask('o'), EACCES);
  EXPECT_EQ(holder.ask('c'), EACCES);  // a process that began after the end
  eventually([&] { return holder.ask('u') == EACCES; });
}

TEST_F(Ending, CutEndsUseAtOnce) {
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  Holder holder({.uid = kAlice});
  ASSERT_EQ(holder.opened(), 0);
  EXPECT_EQ(holder.ask('u'), 0);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(holder.ask('u'), EACCES);
}

TEST_F(Ending, KillTermsThenKillsOnTheHostOnly) {
  const Cgroup slice("/ds01.slice/alices");
  ASSERT_EQ(ctl({"grant", "alice", "1h", "--on-expiry", "kill"}).code, 0);
  Holder on_host({.uid = kAlice});
  Holder in_slice({.uid = kAlice, .cgroup = slice.path()});
  ASSERT_EQ(on_host.opened(), 0);
  ASSERT_EQ(in_slice.opened(), 0);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  const auto sent = [&](std::string_view signal) {
    agent_.wait_for_audit(
        "signal", [&](const json::object& line) { return line.at("unmapped").at("signal").as_string() == signal; });
  };
  sent("TERM");
  EXPECT_EQ(on_host.ask('u'), EACCES);  // it ignores TERM
  sent("KILL");
  on_host.wait_for_end();
  EXPECT_EQ(in_slice.ask('u'), 0);
  EXPECT_EQ(agent_.audit("signal").size(), 2U);
}

TEST_F(Ending, GrantedAnewInTheGraceIsNotKilled) {
  ASSERT_EQ(ctl({"grant", "alice", "1h", "--on-expiry", "kill"}).code, 0);
  Holder holder({.uid = kAlice});
  ASSERT_EQ(holder.opened(), 0);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  // Another's KILL comes later than alice's would have.
  ASSERT_EQ(ctl({"grant", "bob", "1h", "--on-expiry", "kill"}).code, 0);
  Holder other({.uid = kBob});
  ASSERT_EQ(other.opened(), 0);
  ASSERT_EQ(ctl({"revoke", "bob"}).code, 0);
  other.wait_for_end();
  EXPECT_EQ(holder.ask('u'), 0);
}

}  // namespace
}  // namespace ds01::test
