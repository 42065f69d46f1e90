// SPDX-License-Identifier: Apache-2.0
// The enforcer without a kernel side: what it says, what it refuses, and that a bad configuration leaves the old one.
#include "enforcer/enforcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  Enforcer enforcer_{{clock_, users_, cgroups_, {folder_.path() / "proc", folder_.path() / "lsm", folder_.path()}}, {}};
};

TEST_F(EnforcerTest, NotStartedEverythingThatNeedsTheKernelIsUnavailable) {
  EXPECT_FALSE(enforcer_.attached());
  EXPECT_EQ(enforcer_.reason(), "starting");
  EXPECT_EQ(fake::code(enforcer_.set_mode(Mode::full, std::nullopt)), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.reset_mode()), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.put({})), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.erase({})), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(enforcer_.guard(folder_.path() / "x.sock")), ErrorCode::unavailable);
  EXPECT_EQ(enforcer_.mode_now(), Mode::monitoring);
}

TEST_F(EnforcerTest, NotStartedThereAreNoCounts) {
  EXPECT_TRUE(enforcer_.counts()->empty());
  EXPECT_EQ(enforcer_.losses(), kernel::Losses{});
  EXPECT_EQ(enforcer_.recursion_misses(), 0U);
  EXPECT_EQ(enforcer_.events_fd(), -1);
  EXPECT_TRUE(enforcer_.consume_events([](const ds01_event&) { FAIL(); }));
}

TEST_F(EnforcerTest, StartWithoutBpfInTheLsmListSaysSo) {
  EXPECT_FALSE(enforcer_.start());
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

TEST_F(EnforcerTest, RefreshFailingKeepsWhatWasResolved) {
  config::Config config;
  config.exempt_users = {"alice"};
  ASSERT_TRUE(enforcer_.apply(config));
  std::filesystem::remove(folder_.path() / "proc/devices");
  EXPECT_FALSE(enforcer_.refresh());
  EXPECT_TRUE(enforcer_.resolved().exempt_uids.contains(1000));
}

}  // namespace
}  // namespace ds01::enforcer
