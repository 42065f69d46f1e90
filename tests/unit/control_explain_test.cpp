// SPDX-License-Identifier: Apache-2.0
// What each layer says, and what to do about it.
#include "control/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "fakes.h"

namespace ds01::control {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint32_t kGpu1 = DS01_DEV(195U, 1U);

Target gpu1() { return {kGpu1, "gpu1", "/dev/nvidia1", Asked{config::DeviceClass::gpu, 1, ""}, true}; }
devices::Node node(mode_t mode) { return {"/dev/nvidia1", kGpu1, S_IFCHR | mode, 0, 44, false}; }
const devices::Credentials kAlice{1000, {1000}, false};

// ---- the node

TEST(NodeLayer, DriverThatIsNotLoadedDenies) {
  auto target = gpu1();
  target.has_driver = false;
  const auto layer = node_layer(target, node(0666), kAlice);
  EXPECT_EQ(layer.verdict, Verdict::denies);
  EXPECT_EQ(layer.why, "the driver of /dev/nvidia1 is not loaded: /proc/devices has no major 195");
}

TEST(NodeLayer, NodeThatIsMissingDenies) {
  const Result<devices::Node> missing = fail(ErrorCode::not_found, "there is no /dev/nvidia1");
  EXPECT_EQ(node_layer(gpu1(), missing, kAlice).verdict, Verdict::denies);
  auto nowhere = gpu1();
  nowhere.path = "";
  EXPECT_EQ(node_layer(nowhere, missing, kAlice).why, "there is no node of gpu1 in its /dev");
  const Result<devices::Node> unseen = fail(ErrorCode::system, "Permission denied");
  EXPECT_EQ(node_layer(gpu1(), unseen, kAlice).verdict, Verdict::may_deny);
}

TEST(NodeLayer, ModeDeniesUnlessAnAclMayChangeIt) {
  EXPECT_EQ(node_layer(gpu1(), node(0666), kAlice).verdict, Verdict::allows);
  auto closed = node(0660);
  EXPECT_EQ(node_layer(gpu1(), closed, kAlice).verdict, Verdict::denies);
  closed.has_acl = true;
  EXPECT_EQ(node_layer(gpu1(), closed, kAlice).verdict, Verdict::may_deny);
  EXPECT_THAT(node_layer(gpu1(), closed, kAlice).why, HasSubstr("ACL may change this"));
}

TEST(NodeLayer, OtherDeviceUnderItsNameDenies) {
  auto other = node(0666);
  other.device = DS01_DEV(1U, 3U);
  EXPECT_EQ(node_layer(gpu1(), other, kAlice).why, "/dev/nvidia1 is another device in its /dev");
}

// ---- device cgroups

TEST(CgroupLayer, ProgramsMayDeny) {
  EXPECT_EQ(cgroup_layer(std::vector<std::string>{}).verdict, Verdict::allows);
  const auto layer = cgroup_layer(std::vector<std::string>{"/system.slice/a.service"});
  EXPECT_EQ(layer.verdict, Verdict::may_deny);
  EXPECT_THAT(layer.why, HasSubstr("/system.slice/a.service"));
  EXPECT_EQ(cgroup_layer(fail(ErrorCode::system, "no")).verdict, Verdict::may_deny);
}

// ---- this gate

TEST(AccessOf, EveryReasonHasItsLine) {
  struct Row {
    std::uint8_t reason;
    int order;
    const char* rule;
  };
  const Row table[] = {{DS01_BY_DENY_RULE, 1, "deny.users"},
                       {DS01_BY_HOST_ROOT, 2, "root on the host"},
                       {DS01_BY_EXEMPT_USER, 2, "exempt.users or exempt.groups"},
                       {DS01_BY_EXEMPT_CGROUP, 2, "exempt.cgroups or exempt.rules"},
                       {DS01_BY_ALLOWED_CGROUP, 3, "allow.cgroups"},
                       {DS01_BY_TELEMETRY, 3, "telemetry"},
                       {DS01_BY_USER_GRANT, 4, "g-7"},
                       {DS01_BY_CGROUP_GRANT, 5, "g-7"},
                       {DS01_GRANT_ENDED, 6, "the grant has ended (g-7)"},
                       {DS01_UNGATED, 0, ""}};
  for (const auto& row : table) {
    auto answer = fake::holder();
    answer.reason = row.reason;
    answer.grant = 7;
    const auto access = access_of(answer, true, config::Mode::full);
    EXPECT_EQ(access.order, row.order) << row.rule;
    EXPECT_EQ(access.rule, row.rule);
  }
  auto inside = fake::holder();
  EXPECT_EQ(access_of(inside, true, config::Mode::full).rule, "no grant");
  inside.on_host = 0;
  EXPECT_EQ(access_of(inside, true, config::Mode::full).rule, "no grant, in a container outside the allowed cgroups");
}

TEST(AccessOf, MonitoringAllowsAndOpenGatesAskNothing) {
  EXPECT_FALSE(access_of(fake::holder(), true, config::Mode::full).allowed);
  const auto access = access_of(fake::holder(), true, config::Mode::monitoring);
  EXPECT_TRUE(access.allowed);
  EXPECT_THAT(gate_layer(access, config::Mode::monitoring).why, StartsWith("would be denied in full mode: no grant"));
  EXPECT_EQ(access_of(fake::holder(), true, config::Mode::disabled).order, 0);
  EXPECT_EQ(access_of(fake::holder(), false, config::Mode::full).order, 0);
}

TEST(GateLayer, NamesLineAndMode) {
  const Access access{false, "no grant; ask for one: x", 6, "no grant"};
  const auto layer = gate_layer(access, config::Mode::full);
  EXPECT_EQ(layer.verdict, Verdict::denies);
  EXPECT_EQ(layer.why, "no grant (line 6 of the order, mode full)");
}

// ---- what to do

class NextStep : public ::testing::Test {
 protected:
  std::string next() {
    return next_step({who_, target_, "", config::Mode::full, access_, layers_, slice_, by_themselves_});
  }

  Questioned who_{"alice", 1000, std::nullopt, "", "", {}, true, "/"};
  Target target_ = gpu1();
  Access access_{false, "no grant", 6, "no grant"};
  std::vector<Layer> layers_{
      {"node", Verdict::allows, ""}, {"device_cgroup", Verdict::may_deny, ""}, {"gate", Verdict::denies, ""}};
  std::string slice_ = "/ds01.slice";
  bool by_themselves_ = true;
};

TEST_F(NextStep, AtTheGateIsARequestOrAGrant) {
  EXPECT_EQ(next(), "ds01ctl request 24h --reason TEXT");
  by_themselves_ = false;
  EXPECT_THAT(next(), StartsWith("ds01ctl grant alice 24h"));
  target_.gated = Asked{config::DeviceClass::capability, {}, "nvidia-cap1"};
  EXPECT_THAT(next(), HasSubstr("--caps nvidia-cap1"));
  target_.gated = Asked{config::DeviceClass::fabric, {}, ""};
  EXPECT_THAT(next(), HasSubstr("exempts alice"));
  access_.order = 1;
  EXPECT_THAT(next(), HasSubstr("out of deny.users"));
}

TEST_F(NextStep, InAContainerIsTheAllowedSlice) {
  who_.on_host = false;
  EXPECT_THAT(next(), HasSubstr("docker run --cgroup-parent=ds01.slice"));
  slice_ = "";
  EXPECT_THAT(next(), HasSubstr("allow.cgroups"));
}

TEST_F(NextStep, AtTheNodeIsItsDriverItsNodeOrItsMode) {
  layers_[0].verdict = Verdict::denies;
  EXPECT_THAT(next(), HasSubstr("chmod 0666 /dev/nvidia1"));
  target_.path = "";
  EXPECT_THAT(next(), HasSubstr("make the node"));
  target_.has_driver = false;
  EXPECT_THAT(next(), HasSubstr("load the driver"));
}

TEST_F(NextStep, NothingWhereNothingDenies) {
  layers_[2].verdict = Verdict::allows;
  EXPECT_EQ(next(), "");
}

TEST_F(NextStep, JsonNamesTheLayerThatDecides) {
  const Explanation explanation{who_,   target_, "agent.yaml:3: devices[0]", config::Mode::full, access_, layers_,
                                slice_, true};
  const auto out = to_json(explanation);
  EXPECT_EQ(out.at("decided_by").as_string(), "gate");
  EXPECT_FALSE(out.at("allowed").as_bool());
  EXPECT_EQ(out.at("device").at("rule").as_string(), "agent.yaml:3: devices[0]");
  layers_[0].verdict = Verdict::denies;
  const Explanation at_node{who_, target_, "", config::Mode::full, access_, layers_, slice_, true};
  EXPECT_EQ(to_json(at_node).at("decided_by").as_string(), "node");
}

}  // namespace
}  // namespace ds01::control
