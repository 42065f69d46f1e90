// SPDX-License-Identifier: Apache-2.0
// The three modes, policy changes under load, and what a policy change must never do.
#include "attacker.h"
#include "harness.h"

namespace ds01::test {
namespace {

class Modes : public WithAgent {
 protected:
  void TearDown() override { EXPECT_EQ(ctl({"mode", "--default"}).code, 0); }
};

TEST_F(Modes, FullDeniesAndReports) {
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}); });
}

TEST_F(Modes, MonitoringAllowsAndReports) {
  EXPECT_EQ(ctl({"mode", "monitoring"}).code, 0);
  const auto before = denials_of(kAlice);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(denials_of(kAlice), (Denials{before.denied, before.would_deny + 1}));
  const auto line = agent().wait_for_audit("denial", [](const json::object& entry) {
    return entry.at("unmapped").at("verdict").as_string() == "would-deny";
  });
  EXPECT_EQ(line.at("disposition").as_string(), "Detected");
}

TEST_F(Modes, DisabledAllowsAndCountsNothing) {
  EXPECT_EQ(ctl({"mode", "disabled"}).code, 0);
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}); });
  agent().wait_for_audit("mode", [](const json::object& line) {
    return line.at("message").as_string().find("disabled") != json::string::npos;
  });
}

TEST_F(Modes, TemporaryModeEndsInTheKernel) {
  EXPECT_EQ(ctl({"mode", "disabled", "--for", "15s"}).code, 0);
  const auto no_later = SystemClock().boot() + std::chrono::seconds(15);
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "disabled");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  expect_open_until(kAlice, no_later);
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "full");
}

TEST_F(Modes, PolicySwapsLetNobodyThrough) {
  OpenLoop attacker(kAttacker);
  std::string other = kRichConfig;
  other.replace(other.find("/exempt.slice"), 13, "/another.slice");
  for (int i = 0; i < 30; ++i) agent().reload(i % 2 == 0 ? other : kRichConfig);
  EXPECT_EQ(attacker.finish().successes, 0);
}

TEST_F(Modes, GrantsToOthersLetNobodyThrough) {
  OpenLoop attacker(kAttacker);
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(ctl({"grant", "bob", "1h"}).code, 0);
    EXPECT_EQ(ctl({"grant", "bob", "2h"}).code, 0);
    EXPECT_EQ(ctl({"revoke", "bob"}).code, 0);
  }
  EXPECT_EQ(attacker.finish().successes, 0);
}

TEST_F(Modes, RefusedConfigurationLeavesPolicyInForce) {
  agent().reload("version: 1\nmode: full\nallow: {cgroups: [/]}\n");
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}); });
  agent().reload("mode: {");
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}); });
  const auto lines = agent().audit("reload");
  ASSERT_FALSE(lines.empty());
  EXPECT_NE(lines.back().at("message").as_string().find("the running one stays"), json::string::npos);
  agent().reload(kRichConfig);
}

TEST_F(Modes, ReloadKeepsGrants) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  agent().reload(kRichConfig);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
}

}  // namespace
}  // namespace ds01::test
