// SPDX-License-Identifier: Apache-2.0
// A kernel without `bpf` in its LSM list takes the programs and never runs them. Boots of its own (tools/test).
#include "harness.h"

namespace ds01::test {
namespace {

TEST(WithoutBpfLsm, Row25AgentIsNotReadyAndSaysWhy) {
  Agent agent(kRichConfig, false);
  EXPECT_NE(agent.notified().find("Not enforcing"), std::string::npos) << agent.notified();
  EXPECT_NE(agent.notified().find("lacks 'bpf'"), std::string::npos) << agent.notified();
  EXPECT_EQ(open_as({.uid = kAlice}), 0);  // as the status must say

  const auto status = ctl_json({"status"});
  EXPECT_FALSE(status.at("attached").as_bool());
  EXPECT_TRUE(status.at("backend").is_null());
  const auto text = ctl({"status"}).out;
  EXPECT_NE(text.find("NOT ENFORCING"), std::string::npos) << text;
  EXPECT_NE(text.find("lsm="), std::string::npos) << text;

  const auto grant = ctl({"grant", "alice", "1h"});
  EXPECT_EQ(grant.code, 3);  // no admin.sock without the gate in front of it
  EXPECT_NE(grant.err.find("not attached"), std::string::npos) << grant.err;
  EXPECT_EQ(connect_errno("/run/ds01/admin.sock"), ENOENT);
}

}  // namespace
}  // namespace ds01::test
