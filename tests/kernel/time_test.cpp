// SPDX-License-Identifier: Apache-2.0
// Row 17: the wall clock is set, or the machine sleeps. Durations go by the boot clock, --until by the wall clock.
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/timex.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

#include "attacker.h"
#include "core/clock.h"
#include "harness.h"
#include "pinned.h"

namespace ds01::test {
namespace {

using namespace std::chrono_literals;

class Time : public WithAgent {
 protected:
  void TearDown() override {
    step(-stepped_);
    ctl({"revoke", "alice"});
    ctl({"revoke", "bob"});
  }
  void step(std::chrono::seconds by) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += by.count();
    EXPECT_EQ(::clock_settime(CLOCK_REALTIME, &now), 0);
    stepped_ += by;
  }
  static std::string utc(std::chrono::seconds from_now) { return format_utc(SystemClock().wall() + from_now); }
  // Asks until ds01ctl shows the grant in this state.
  static void wait_for_state(const std::string& id, const std::string& state) {
    eventually([&] { return ctl_json({"show", id}).at("state").as_string() == state; });
  }

  std::chrono::seconds stepped_{0};
};

TEST_F(Time, Attack17DurationsIgnoreTheWallClock) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  step(24h);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_GT(ctl_json({"show", "alice"}).at("remaining_s").as_int64(), 3500);
  step(-48h);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_LE(ctl_json({"show", "alice"}).at("remaining_s").as_int64(), 3600);
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(ctl({"grant", "alice", "2s"}).code, 0);
  step(-24h);
  expect_open_until(kAlice, SystemClock().boot() + 2s);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(Time, UntilFollowsTheWallClock) {
  const auto id = std::string(ctl_json({"grant", "alice", "--until", utc(1h)}).at("id").as_string());
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  step(-1h);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  eventually([] { return ctl_json({"show", "alice"}).at("remaining_s").as_int64() > 7000; });
  step(3h);
  eventually([] { return open_as({.uid = kAlice}) != 0; });  // the agent hears of it and tells the kernel
  wait_for_state(id, "expired");
}

// Its absolute end is what counts after a reboot, so it has to be right on disk although the clock was set meanwhile.
TEST_F(Time, ClockSetWhileTheAgentIsDeadIsNoticed) {
  const auto until = std::string(ctl_json({"grant", "alice", "--until", utc(1h)}).at("id").as_string());
  EXPECT_EQ(ctl({"grant", "bob", "1h"}).code, 0);
  agent().kill();
  step(24h);
  agent().start_again();
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  wait_for_state(until, "expired");
}

// A clock that is set while the agent starts, after it told the programs and before it watches the clock.
TEST_F(Time, ClockSetDuringTheStartIsNoticed) {
  agent().kill();
  const std::atomic_ref distance(pinned_state().wall_minus_boot);
  distance = 0;
  agent().launch();
  eventually([&] { return distance != 0; });
  ::kill(agent().pid(), SIGSTOP);
  step(2h);
  ::kill(agent().pid(), SIGCONT);
  eventually(
      [&] { return std::chrono::abs(std::chrono::nanoseconds(distance) - SystemClock().wall_minus_boot()) < 1s; });
}

// When the mode set by hand ends, as a start after a reboot would read it.
WallTime stored_end_of_mode() {
  sqlite3* connection = nullptr;
  EXPECT_EQ(::sqlite3_open_v2("/var/lib/ds01/ds01.db", &connection, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  ::sqlite3_prepare_v2(connection, "SELECT ends_wall FROM modes", -1, &statement, nullptr);
  EXPECT_EQ(::sqlite3_step(statement), SQLITE_ROW);
  const WallTime end{std::chrono::nanoseconds(::sqlite3_column_int64(statement, 0))};
  ::sqlite3_finalize(statement);
  ::sqlite3_close(connection);
  return end;
}

TEST_F(Time, TemporaryModeIsNoLongerAfterARebootWhenTheClockWasSet) {
  EXPECT_EQ(ctl({"mode", "disabled", "--for", "1h"}).code, 0);
  step(-24h);
  eventually([] { return stored_end_of_mode() <= SystemClock().wall() + 1h; });
  EXPECT_EQ(ctl({"mode", "--default"}).code, 0);
}

void write_text(const char* path, const std::string& text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size())) << path;
}

// The boot clock counts the time asleep, the monotonic one does not: a grant that would end in 30 s has ended
// after a sleep of 40 s.
TEST_F(Time, Attack17SuspendCounts) {
  const auto awake = [] {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::chrono::seconds(now.tv_sec);
  };
  const auto id = std::string(ctl_json({"grant", "alice", "30s"}).at("id").as_string());
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  const auto boot_before = SystemClock().boot();
  const auto awake_before = awake();
  write_text("/sys/class/rtc/rtc0/wakealarm", "+40");
  write_text("/sys/power/state", "mem");
  EXPECT_GE(SystemClock().boot() - boot_before, 30s);
  EXPECT_LT(awake() - awake_before, 30s);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  wait_for_state(id, "expired");
}

}  // namespace
}  // namespace ds01::test
