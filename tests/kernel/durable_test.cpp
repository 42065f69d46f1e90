// SPDX-License-Identifier: Apache-2.0
// What goes on without the agent: enforcement, deadlines, grants, counts; and how the next agent takes over.
#include <signal.h>

#include <chrono>
#include <filesystem>

#include "attacker.h"
#include "core/clock.h"
#include "harness.h"
#include "pinned.h"

namespace ds01::test {
namespace {

using namespace std::chrono_literals;

class Durable : public WithAgent {
 protected:
  void TearDown() override {
    for (const auto* subject : {"alice", "bob"}) ctl({"revoke", subject});
  }
  static void restart() {
    agent().kill();
    agent().start_again();
  }
};

TEST_F(Durable, StoppingTheAgentKeepsTheGateClosed) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  EXPECT_EQ(agent().stop(), 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = 0}), 0);
  agent().start_again();
}

TEST_F(Durable, RestartTakesTheSamePrograms) {
  const auto program = pinned_program_id();
  const auto before = denials_of(kBob);
  restart();
  EXPECT_EQ(pinned_program_id(), program);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_EQ(denials_of(kBob).denied, before.denied + 1);
}

TEST_F(Durable, GrantsSurviveKillAndRestart) {
  const auto given = ctl_json({"grant", "alice", "1h", "--gpus", "0", "--reason", "kept"});
  agent().kill();
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  agent().start_again();
  const auto found = ctl_json({"show", "alice"});
  for (const auto* key : {"id", "gpus", "reason", "created_at", "expires_at", "granted_by"})
    EXPECT_EQ(found.at(key), given.at(key)) << key;
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kAlice}, kGpu1), EACCES);
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(Durable, DenialsWithoutAnAgentAreLoggedByTheNext) {
  agent().kill();
  EXPECT_EQ(open_as({.uid = kBob}, kGpu1), EACCES);
  agent().start_again();
  agent().wait_for_audit("denial", [](const json::object& line) {
    const auto& fields = line.at("unmapped").as_object();
    return fields.at("uid").to_number<uid_t>() == kBob && fields.at("device").as_string() == "gpu1";
  });
}

TEST_F(Durable, Attack16DeadlineHoldsWithTheAgentKilled) {
  const auto grant = ctl_json({"grant", "alice", "15s"});
  const auto no_later = SystemClock().boot() + 15s;
  agent().kill();
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  expect_open_until(kAlice, no_later);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  agent().start_again();
  EXPECT_EQ(ctl_json({"history", "--user", "alice"}).as_array().at(0).at("id"), grant.at("id"));
}

TEST_F(Durable, Attack16DeadlineHoldsWithTheAgentStopped) {
  EXPECT_EQ(ctl({"grant", "alice", "15s"}).code, 0);
  const auto no_later = SystemClock().boot() + 15s;
  ::kill(agent().pid(), SIGSTOP);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  expect_open_until(kAlice, no_later);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  ::kill(agent().pid(), SIGCONT);
}

TEST_F(Durable, ModeSetByHandSurvivesAndEnds) {
  EXPECT_EQ(ctl({"mode", "monitoring"}).code, 0);
  restart();
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "monitoring");
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("configured_mode").as_string(), "full");
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  EXPECT_EQ(ctl({"mode", "--default"}).code, 0);
  restart();
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "full");
}

TEST_F(Durable, TemporaryModeEndsWithTheAgentKilled) {
  EXPECT_EQ(ctl({"mode", "disabled", "--for", "15s"}).code, 0);
  const auto no_later = SystemClock().boot() + 15s;
  agent().kill();
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  expect_open_until(kBob, no_later);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  agent().start_again();
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "full");
}

TEST_F(Durable, DriftIsRepairedAndReported) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  EXPECT_EQ(ctl({"grant", "bob", "1h"}).code, 0);
  agent().kill();
  const Fd map = pinned("grants");
  ds01_subject subject{kAlice, DS01_SUBJECT_UID, 0};
  EXPECT_EQ(bpf_map_delete_elem(map.get(), &subject), 0);
  subject.id = kBob;
  ds01_grant grant = {};
  EXPECT_EQ(bpf_map_lookup_elem(map.get(), &subject, &grant), 0);
  grant.ends = DS01_NEVER;
  EXPECT_EQ(bpf_map_update_elem(map.get(), &subject, &grant, BPF_ANY), 0);
  subject.id = kAttacker;
  EXPECT_EQ(bpf_map_update_elem(map.get(), &subject, &grant, BPF_ANY), 0);
  EXPECT_EQ(open_as({.uid = kAttacker}), 0);
  agent().start_again();
  EXPECT_EQ(open_as({.uid = kAttacker}), EACCES);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  subject.id = kBob;
  EXPECT_EQ(bpf_map_lookup_elem(map.get(), &subject, &grant), 0);
  EXPECT_NE(grant.ends, DS01_NEVER);
  agent().wait_for_audit("drift", [](const json::object& line) {
    return line.at("message").as_string().find("1 missing, 1 different, 1 unknown") != json::string::npos;
  });
}

TEST_F(Durable, Attack22FullGrantMapRefusesLoudly) {
  const Fd map = pinned("grants");
  ds01_grant grant = {};
  grant.ends = 1;  // long over
  ds01_subject subject{5'000'000, DS01_SUBJECT_UID, 0};
  while (bpf_map_update_elem(map.get(), &subject, &grant, BPF_ANY) == 0) ++subject.id;
  EXPECT_EQ(errno, E2BIG);
  const auto refused = ctl({"grant", "alice", "1h"});
  EXPECT_EQ(refused.code, 1) << refused.out;
  EXPECT_NE(refused.err.find("map is full"), std::string::npos) << refused.err;
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(ctl({"show", "alice"}).code, 4);
  restart();  // finds what it does not know and removes it
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

TEST_F(Durable, SecondAgentIsRefused) {
  const auto starts = agent().audit("start").size();
  const auto second = run_command({"ds01d", "--config", "/tmp/agent.yaml"});
  EXPECT_NE(second.code, 0);
  EXPECT_NE(second.err.find("another ds01d is running: stop it first"), std::string::npos) << second.err;
  EXPECT_EQ(agent().audit("start").size(), starts);  // before it has opened or written anything
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_EQ(ctl({"status"}).code, 0);
  EXPECT_NE(run_command({"ds01d", "--detach"}).code, 0);
}

TEST_F(Durable, DetachOpensTheGate) {
  agent().stop();
  EXPECT_EQ(run_command({"ds01d", "--detach"}).code, 0);
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/ds01"));
  agent().start_again();
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
}

}  // namespace
}  // namespace ds01::test
