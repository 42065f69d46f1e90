// SPDX-License-Identifier: Apache-2.0
// What admins and users type: the contract's output and exit codes, and bad input that changes nothing.
#include <fstream>

#include "harness.h"

namespace ds01::test {
namespace {

class Input : public WithAgent {
 protected:
  // Refused with this exit code and a message that contains `part`; no grant comes of it.
  static void expect_refused(const std::vector<std::string>& arguments, int code, const std::string& part) {
    const auto outcome = ctl(arguments);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
  }
};

TEST_F(Input, GrantAsTheContractHasIt) {
  const auto grant = ctl_json({"grant", "alice", "90m", "--gpus", "0,2", "--reason", "paper"});
  EXPECT_EQ(grant.at("subject"), (json::value{{"kind", "user"}, {"name", "alice"}, {"uid", 1000}}));
  EXPECT_EQ(grant.at("gpus").as_array().size(), 2U);
  EXPECT_EQ(grant.at("gpus").at(1).at("index").as_int64(), 2);
  EXPECT_EQ(grant.at("remaining_s").as_int64(), 5400);
  EXPECT_EQ(grant.at("on_expiry").as_string(), "cut");
  EXPECT_EQ(grant.at("state").as_string(), "active");
  EXPECT_EQ(grant.at("reason").as_string(), "paper");
  EXPECT_EQ(grant.at("granted_by").at("uid").as_int64(), 0);
  EXPECT_TRUE(grant.at("id").as_string().starts_with("g-"));
  EXPECT_EQ(ctl_json({"show", "alice"}).at("id"), grant.at("id"));
  EXPECT_EQ(ctl_json({"revoke", "alice"}).at("state").as_string(), "revoked");
  EXPECT_EQ(ctl_json({"list", "--all"}).as_array().back().at("id"), grant.at("id"));
}

TEST_F(Input, GrantByUuid) {
  const auto grant = ctl_json({"grant", "alice", "1h", "--gpus", "GPU-00000000-0000-0000-0000-000000000001"});
  EXPECT_EQ(grant.at("gpus").at(0).at("index").as_int64(), 1);
  EXPECT_EQ(open_as({.uid = kAlice}, kGpu0), EACCES);
  EXPECT_EQ(open_as({.uid = kAlice}, kGpu1), 0);
  ctl({"revoke", "alice"});
}

TEST_F(Input, PermanentGrantHasNoEnd) {
  const auto grant = ctl_json({"grant", "alice", "permanent"});
  EXPECT_TRUE(grant.at("expires_at").is_null());
  EXPECT_TRUE(grant.at("remaining_s").is_null());
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  ctl({"revoke", "alice"});
}

TEST_F(Input, SecondGrantNeverShortens) {
  const auto first = ctl_json({"grant", "alice", "2h"});
  const auto shorter = ctl({"grant", "alice", "1h"});
  EXPECT_EQ(shorter.code, 1);
  EXPECT_NE(shorter.err.find("revoke it first"), std::string::npos) << shorter.err;
  const auto longer = ctl_json({"grant", "alice", "3h"});
  EXPECT_EQ(longer.at("id"), first.at("id"));
  EXPECT_EQ(ctl_json({"list"}).as_array().size(), 1U);
  ctl({"revoke", "alice"});
}

TEST_F(Input, DryRunChangesNothing) {
  EXPECT_EQ(ctl({"grant", "alice", "1h", "--dry-run"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
}

TEST_F(Input, UsersSeeTheirOwnOnly) {
  const auto id = ctl_json({"grant", "alice", "1h"}).at("id");
  EXPECT_EQ(ctl_json({"list"}, {.uid = kAlice}).as_array().size(), 1U);
  EXPECT_TRUE(ctl_json({"list"}, {.uid = kBob}).as_array().empty());
  EXPECT_EQ(ctl({"show", std::string(id.as_string())}, {.uid = kBob}).code, 4);
  EXPECT_EQ(ctl({"denials", "--user", "alice"}, {.uid = kBob}).code, 1);
  const auto alice = ctl_json({"whoami"}, {.uid = kAlice});
  EXPECT_EQ(alice.at("access").as_string(), "allowed");
  EXPECT_EQ(alice.at("grant").at("id"), id);
  const auto bob = ctl_json({"whoami"}, {.uid = kBob});
  EXPECT_EQ(bob.at("access").as_string(), "denied");
  EXPECT_TRUE(bob.at("grant").is_null());
  ctl({"revoke", "alice"});
}

TEST_F(Input, StatusAsTheContractHasIt) {
  const auto status = ctl_json({"status"}, {.uid = kAlice});
  EXPECT_EQ(status.at("backend").as_string(), "bpf_lsm");
  EXPECT_TRUE(status.at("attached").as_bool());
  EXPECT_EQ(status.at("recursion_misses_total").as_int64(), 0);
  EXPECT_EQ(status.at("gates").at("gpu").at("mode").as_string(), "full");
  EXPECT_EQ(status.at("gates").at("gpu").at("configured_mode").as_string(), "full");
  EXPECT_TRUE(status.at("gates").at("gpu").at("until").is_null());
  for (const char* key : {"version", "best_effort_hooks", "grants_active", "denials_total", "would_deny_total",
                          "events_lost_total", "started_at"})
    EXPECT_TRUE(status.as_object().contains(key)) << key;
}

TEST_F(Input, TablesAreForPeople) {
  ctl({"grant", "alice", "1h", "--reason", "a\u00e9b"});
  const auto table = ctl({"list"});
  EXPECT_NE(table.out.find("SUBJECT"), std::string::npos);
  EXPECT_NE(table.out.find("alice"), std::string::npos);
  EXPECT_NE(table.out.find("1 grant\n"), std::string::npos);
  EXPECT_EQ(ctl({"--no-legend", "list"}).out.find("SUBJECT"), std::string::npos);
  EXPECT_EQ(table.out.find('\033'), std::string::npos);  // no colour off a terminal
  ctl({"revoke", "alice"});
}

TEST_F(Input, UnknownUserIsNotFound) { expect_refused({"grant", "nosuchuser", "1h"}, 4, "no such user: nosuchuser"); }
TEST_F(Input, UnknownGrantIsNotFound) { expect_refused({"revoke", "g-999"}, 4, "g-999"); }
TEST_F(Input, UserWithoutGrantIsNotFound) { expect_refused({"revoke", "bob"}, 4, "bob has no active grant"); }
TEST_F(Input, UnknownCgroupIsNotFound) { expect_refused({"grant", "cgroup:/nope", "1h"}, 4, "/nope"); }
TEST_F(Input, RootNeedsNoGrant) { expect_refused({"grant", "root", "1h"}, 2, "root needs no grant"); }

TEST_F(Input, MalformedDurationsAreUsageErrors) {
  for (const char* duration : {"90", "0m", "-1h", "1x", "h", "999999999999w", "1h junk", "1.5h"})
    expect_refused({"grant", "alice", duration}, 2, "");
}

TEST_F(Input, ExcessiveDurationNamesTheLimit) {
  expect_refused({"grant", "alice", "8d"}, 2, "maximum of 7d");
  expect_refused({"grant", "alice", "1000w"}, 2, "maximum of 7d");
}

TEST_F(Input, PastUntilIsRefused) {
  expect_refused({"grant", "alice", "--until", "2001-01-01T00:00:00Z"}, 2, "past");
  expect_refused({"grant", "alice", "--until", "2001-02-30"}, 2, "2001-02-30");
}

TEST_F(Input, UnknownGpusAreRefused) {
  expect_refused({"grant", "alice", "1h", "--gpus", "7"}, 2, "no GPU 7");
  expect_refused({"grant", "alice", "1h", "--gpus", "x"}, 2, "'x'");
  expect_refused({"grant", "alice", "1h", "--gpus", ""}, 2, "GPU");
}

TEST_F(Input, ReasonsAreChecked) {
  expect_refused({"grant", "alice", "1h", "--reason", "a\nb"}, 2, "control characters");
  expect_refused({"grant", "alice", "1h", "--reason", std::string(501, 'x')}, 2, "longer than 500");
}

TEST_F(Input, UnknownCommandsAndOptionsAreUsageErrors) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {}, {"frobnicate"}, {"grant"}, {"grant", "alice", "1h", "--nope"}, {"mode", "off"}, {"-o", "xml", "list"}})
    EXPECT_EQ(ctl(arguments).code, 2) << testing::PrintToString(arguments);
}

TEST_F(Input, ErrorsComeAsJsonToo) {
  const auto outcome = ctl({"-o", "json", "grant", "nosuchuser", "1h"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_EQ(json::parse(outcome.err).at("error").at("code").as_string(), "not_found");
}

TEST_F(Input, UnreachableAgentIsExitCode3) {
  EXPECT_EQ(run_command({"env", "DS01_RUNTIME_DIR=/nowhere", "ds01ctl", "status"}).code, 3);
}

TEST_F(Input, SecondAgentIsRefusedAndTheFirstGoesOn) {
  const auto outcome = run_command({"ds01d", "--config", "/tmp/agent.yaml"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("another ds01d"), std::string::npos) << outcome.err;
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(ctl({"status"}).code, 0);
}

TEST(CheckConfig, NamesLineKeyAndReason) {
  const auto check = [](const std::string& yaml) {
    std::ofstream("/tmp/check.yaml") << yaml;
    return run_command({"ds01d", "--check-config", "/tmp/check.yaml"}, {.uid = kAlice});
  };
  EXPECT_EQ(check("version: 1\nmode: full\n").code, 0);
  const auto unknown = check("version: 1\nmood: full\n");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(unknown.err.find("/tmp/check.yaml:2: mood:"), std::string::npos) << unknown.err;
  EXPECT_EQ(check("").code, 1);
  EXPECT_EQ(run_command({"ds01d", "--check-config", "/nowhere"}).code, 1);
  EXPECT_EQ(run_command({"ds01d", "--config", "/nowhere"}).code, 1);
  EXPECT_EQ(run_command({"ds01d", "--frobnicate"}).code, 2);
}

TEST(Lifecycle, StartAndStopAreAudited) {
  Agent agent;
  EXPECT_EQ(agent.audit("start").size(), 1U);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(agent.stop(), 0);
  EXPECT_EQ(agent.audit("stop").size(), 1U);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);  // the gate outlives the agent
}

}  // namespace
}  // namespace ds01::test
