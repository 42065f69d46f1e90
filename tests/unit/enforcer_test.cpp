// SPDX-License-Identifier: Apache-2.0
// The enforcer without a kernel side: what it says, what it refuses, and that a bad configuration leaves the old one.
#include "enforcer/enforcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "enforcer/mode_store.h"
#include "fakes.h"

namespace ds01::enforcer {
namespace {

using config::Mode;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class EnforcerTest : public ::testing::Test {
 protected:
  EnforcerTest() {
    folder_.write("proc/devices", "Character devices:\n195 nvidia\n");
    folder_.write("lsm", "lockdown,yama");
  }

  fake::Folder folder_;
  fake::Clock clock_;
  fake::Users users_;
  identity::Cgroups cgroups_{folder_.make("cgroup")};
  database::Database database_{folder_.path() / "ds01.db"};
  int events_ = 0;
  Enforcer enforcer_{{clock_,
                      users_,
                      cgroups_,
                      database_,
                      {folder_.path() / "proc", folder_.path() / "sys", folder_.path() / "lsm", folder_.path(),
                       folder_.path() / "pins" / "ds01"},
                      [this](const ds01_event&) { ++events_; }},
                     {}};
};

TEST_F(EnforcerTest, NotStartedEverythingThatNeedsTheKernelIsUnavailable) {
  EXPECT_FALSE(enforcer_.attached());
  EXPECT_EQ(enforcer_.reason(), "starting");
  EXPECT_EQ(fake::code(enforcer_.set_mode(Mode::full, Never{})), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.reset_mode()), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.put({})), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.erase({})), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.settle()), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.entries()), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.attach()), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.guard(folder_.path() / "x.sock")), ErrorCode::unavailable);
  EXPECT_EQ(enforcer_.mode_now(), Mode::monitoring);
}

TEST_F(EnforcerTest, NotStartedThereAreNoCounts) {
  EXPECT_TRUE(enforcer_.counts()->empty());
  EXPECT_EQ(enforcer_.losses(), kernel::Losses{});
  EXPECT_EQ(enforcer_.recursion_misses(), 0U);
  EXPECT_EQ(enforcer_.events_fd(), -1);
  EXPECT_TRUE(enforcer_.consume_events());
  EXPECT_EQ(events_, 0);
}

TEST_F(EnforcerTest, StartWithoutBpfInTheLsmListSaysSo) {
  EXPECT_FALSE(enforcer_.prepare());
  EXPECT_FALSE(enforcer_.attached());
  EXPECT_THAT(enforcer_.reason(), HasSubstr("bpf"));
  EXPECT_THAT(fake::message(enforcer_.put({})), HasSubstr(enforcer_.reason()));
}

TEST_F(EnforcerTest, ApplyTakesTheNewConfiguration) {
  config::Config config;
  config.gpu_mode = Mode::full;
  config.deny_users = {"alice"};
  EXPECT_TRUE(enforcer_.apply(config));
  EXPECT_EQ(enforcer_.mode_now(), Mode::full);
  EXPECT_TRUE(enforcer_.resolved().denied_uids.contains(1000));
}

TEST_F(EnforcerTest, ApplyFailingKeepsTheOldConfiguration) {
  config::Config config;
  config.gpu_mode = Mode::full;
  config.devices = {{config::DeviceClass::gpu, 1U, 0, 255, false, "agent.yaml:3: devices[0]"}};
  EXPECT_EQ(fake::code(enforcer_.apply(config)), ErrorCode::invalid);
  EXPECT_EQ(enforcer_.mode_now(), Mode::monitoring);
  EXPECT_TRUE(enforcer_.config().devices.empty());
}

TEST_F(EnforcerTest, RefreshSeesWhatHasChanged) {
  config::Config config;
  config.devices = {{config::DeviceClass::compute, "nvidia-uvm", 0, 255, false, "agent.yaml:3: devices[0]"}};
  config.exempt_groups = {"staff"};
  ASSERT_TRUE(enforcer_.apply(config));
  EXPECT_TRUE(enforcer_.resolved().devices.empty());
  folder_.write("proc/devices", "Character devices:\n195 nvidia\n240 nvidia-uvm\n");
  folder_.make("cgroup/ds01.slice");
  users_.groups["staff"] = {1002};
  ASSERT_TRUE(enforcer_.refresh());
  ASSERT_EQ(enforcer_.resolved().devices.size(), 1U);
  EXPECT_EQ(enforcer_.resolved().devices[0].major, 240U);
  EXPECT_EQ(enforcer_.resolved().exempt_uids, std::set<uid_t>{1002});
  EXPECT_EQ(enforcer_.resolved().allowed_cgroups.size(), 1U);
}

TEST_F(EnforcerTest, RefreshSeesNodesByVendor) {
  config::Config config;
  config.devices = {{config::DeviceClass::dri, config::Vendor{0x10de}, 0, 255, false, "agent.yaml:3: devices[0]"}};
  ASSERT_TRUE(enforcer_.apply(config));
  EXPECT_TRUE(enforcer_.resolved().devices.empty());
  folder_.write("sys/class/drm/card0/dev", "226:0\n");
  folder_.write("sys/class/drm/card0/device/vendor", "0x10de\n");
  ASSERT_TRUE(enforcer_.refresh());
  ASSERT_EQ(enforcer_.resolved().devices.size(), 1U);
  EXPECT_EQ(enforcer_.resolved().devices[0].major, 226U);
}

TEST_F(EnforcerTest, RefreshFailingKeepsWhatWasResolved) {
  config::Config config;
  config.exempt_users = {"alice"};
  ASSERT_TRUE(enforcer_.apply(config));
  std::filesystem::remove(folder_.path() / "proc/devices");
  EXPECT_FALSE(enforcer_.refresh());
  EXPECT_TRUE(enforcer_.resolved().exempt_uids.contains(1000));
}

// ---- the override on disk

TEST_F(EnforcerTest, StoredOverrideComesBack) {
  const Override lasting{Mode::disabled, clock_.boot() + 1h};
  ASSERT_TRUE(store_override(database_, lasting, clock_));
  EXPECT_EQ(*load_override(database_, clock_), lasting);
  const Override forever{Mode::full, Never{}};
  ASSERT_TRUE(store_override(database_, forever, clock_));
  EXPECT_EQ(*load_override(database_, clock_), forever);
  ASSERT_TRUE(store_override(database_, std::nullopt, clock_));
  EXPECT_EQ(*load_override(database_, clock_), std::nullopt);
}

TEST_F(EnforcerTest, StoredOverrideEndsOnTheBootClock) {
  ASSERT_TRUE(store_override(database_, Override{Mode::disabled, clock_.boot() + 1h}, clock_));
  clock_.step_wall(24h);
  EXPECT_TRUE(load_override(database_, clock_)->has_value());
  clock_.advance(1h);
  EXPECT_EQ(*load_override(database_, clock_), std::nullopt);
}

TEST_F(EnforcerTest, AfterARebootTheAbsoluteEndCounts) {
  ASSERT_TRUE(store_override(database_, Override{Mode::disabled, clock_.boot() + 1h}, clock_));
  const auto end = clock_.wall() + 1h;
  clock_.reboot();
  EXPECT_EQ(*load_override(database_, clock_), (Override{Mode::disabled, end}));
  clock_.step_wall(2h);
  EXPECT_EQ(*load_override(database_, clock_), std::nullopt);
}

}  // namespace
}  // namespace ds01::enforcer
