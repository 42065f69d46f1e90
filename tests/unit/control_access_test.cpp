// SPDX-License-Identifier: Apache-2.0
// Why `whoami` says allowed or denied.
#include "control/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "fakes.h"

namespace ds01::control {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class AccessTest : public ::testing::Test {
 protected:
  Access access() const {
    return access_in({caller_, clock_, config_, resolved_, attached_, mode_, has_own_ ? &own_ : nullptr,
                      has_cgroup_ ? std::optional(of_cgroup_) : std::nullopt, device_});
  }
  void expect_allowed(const std::string& why) const {
    EXPECT_TRUE(access().allowed);
    EXPECT_EQ(access().why, why);
  }
  void expect_denied(const std::string& why) const {
    EXPECT_FALSE(access().allowed);
    EXPECT_EQ(access().why, why);
  }

  fake::Clock clock_;
  authz::Caller caller_{{1000, "alice", 1000}, 77, false, true, "/user.slice/job"};
  config::Config config_;
  policy::Resolved resolved_;
  bool attached_ = true;
  config::Mode mode_ = config::Mode::full;
  grants::Grant own_ = [] {
    grants::Grant grant;
    grant.number = 7;
    grant.subject.uid = 1000;
    grant.end = BootTime(1090s);
    return grant;
  }();
  grants::Grant of_cgroup_ = [] {
    grants::Grant grant;
    grant.number = 8;
    grant.subject.kind = grants::Subject::Kind::cgroup;
    grant.subject.path = "/user.slice";
    return grant;
  }();
  std::optional<Asked> device_;
  bool has_own_ = false;
  bool has_cgroup_ = false;
};

TEST_F(AccessTest, GateOpenAllowsEverybody) {
  resolved_.denied_uids = {1000};
  attached_ = false;
  expect_allowed("the gate is not attached");
  attached_ = true;
  mode_ = config::Mode::disabled;
  expect_allowed("the gate is disabled");
}

TEST_F(AccessTest, NothingIsDeniedWithWhatToDo) {
  expect_denied("no grant; ask for one: ds01ctl request 24h --reason TEXT");
}

TEST_F(AccessTest, MonitoringAllowsAndSaysWhatFullWouldDo) {
  mode_ = config::Mode::monitoring;
  EXPECT_TRUE(access().allowed);
  EXPECT_THAT(access().why, HasSubstr("in full mode this would be denied: no grant;"));
  has_own_ = true;
  expect_allowed("g-7 for all GPUs");
}

TEST_F(AccessTest, GrantAllowsUntilItsEnd) {
  has_own_ = true;
  expect_allowed("g-7 for all GPUs");
  clock_.advance(90s);
  EXPECT_FALSE(access().allowed);
}

TEST_F(AccessTest, GrantSuspendedDeniesAndSaysWhy) {
  has_own_ = true;
  own_.state = grants::State::suspended;
  expect_denied("g-7 is suspended: the account has changed; ask an admin");
}

TEST_F(AccessTest, GrantOfTheUidCountsForNothingInAContainer) {
  has_own_ = true;
  caller_.on_host = false;
  expect_denied("in a container outside the allowed cgroups, where rights of users do not count");
  caller_.actor.uid = 0;
  EXPECT_FALSE(access().allowed);
  resolved_.exempt_uids = {0};
  EXPECT_FALSE(access().allowed);
}

TEST_F(AccessTest, GrantOfTheCgroupAllowsInAContainerAsWell) {
  has_cgroup_ = true;
  expect_allowed("g-8 of cgroup:/user.slice for all GPUs");
  caller_.on_host = false;
  expect_allowed("g-8 of cgroup:/user.slice for all GPUs");
  of_cgroup_.end = clock_.boot();
  EXPECT_FALSE(access().allowed);
}

TEST_F(AccessTest, ConfigurationComesBeforeGrants) {
  has_own_ = true;
  resolved_.exempt_uids = {1000};
  expect_allowed("exempt by configuration (exempt)");
  resolved_.denied_uids = {1000};
  expect_denied("denied by configuration (deny.users)");
}

TEST_F(AccessTest, RootOnTheHostIsAllowed) {
  caller_.actor.uid = 0;
  expect_allowed("root on the host");
}

TEST_F(AccessTest, AllowedCgroupIsOneWithEverythingBelow) {
  for (const auto* path : {"/ds01.slice", "/ds01.slice/ds01-staff.slice/docker-1.scope"}) {
    caller_.cgroup = path;
    caller_.on_host = false;
    expect_allowed("in the allowed cgroup /ds01.slice");
  }
  for (const auto* path : {"/ds01.slice2", "/user.slice/ds01.slice", "", "/"}) {
    caller_.cgroup = path;
    EXPECT_FALSE(access().allowed) << path;
  }
}

// ---- of one device

TEST_F(AccessTest, OrderAndRuleAreNamed) {
  EXPECT_EQ(access().order, 6);
  EXPECT_EQ(access().rule, "no grant");
  has_own_ = true;
  EXPECT_EQ(access().order, 4);
  EXPECT_EQ(access().rule, "g-7");
  config_.exempt_cgroups = {"/user.slice"};
  EXPECT_EQ(access().order, 2);
  caller_.on_host = false;
  EXPECT_EQ(access().order, 6);
  resolved_.denied_uids = {1000};
  EXPECT_EQ(access().order, 1);
  attached_ = false;
  EXPECT_EQ(access().order, 0);
}

TEST_F(AccessTest, GrantHasToCoverTheDevice) {
  using config::DeviceClass;
  const auto allowed = [&](DeviceClass device_class, std::optional<std::uint32_t> index, const std::string& cap = "") {
    device_ = Asked{device_class, index, cap};
    return access().allowed;
  };
  has_own_ = true;
  EXPECT_TRUE(allowed(DeviceClass::gpu, 1));
  EXPECT_FALSE(allowed(DeviceClass::fabric, {}));
  EXPECT_FALSE(allowed(DeviceClass::capability, {}, "nvidia-cap1"));
  own_.caps = {"nvidia-cap1"};
  EXPECT_TRUE(allowed(DeviceClass::capability, {}, "nvidia-cap1"));
  own_.gpus = {{0, ""}};
  EXPECT_TRUE(allowed(DeviceClass::gpu, 0));
  EXPECT_TRUE(allowed(DeviceClass::control, {}));
  EXPECT_FALSE(allowed(DeviceClass::gpu, 1));
  EXPECT_EQ(access().rule, "g-7 does not cover this device");
}

TEST_F(AccessTest, TelemetryOpensGpusButNotCompute) {
  resolved_.open_telemetry = true;
  device_ = Asked{config::DeviceClass::control, {}, ""};
  EXPECT_EQ(access().order, 3);
  device_ = Asked{config::DeviceClass::compute, {}, ""};
  EXPECT_FALSE(access().allowed);
}

}  // namespace
}  // namespace ds01::control
