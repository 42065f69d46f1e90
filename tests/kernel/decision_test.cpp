// SPDX-License-Identifier: Apache-2.0
// Each row of the decision (bpf/decide.h), with what it allows and what it does not.
#include <fstream>

#include "attacker.h"
#include "harness.h"

namespace ds01::test {
namespace {

const std::string kContainerName = "docker-" + std::string(64, 'a') + ".scope";

class Decision : public WithAgent {
 protected:
  static void grant(const std::string& subject, std::vector<std::string> more = {"1h"}) {
    more.insert(more.begin(), {"grant", subject});
    EXPECT_EQ(ctl(more).code, 0);
  }
  void TearDown() override {
    const auto grants = ctl_json({"list"});
    for (const auto& entry : grants.as_array()) ctl({"revoke", std::string(entry.at("id").as_string())});
  }
};

// ---- 1: explicit deny ----

TEST_F(Decision, DenyRuleWinsOverGrant) {
  grant("dave");
  expect_denied(kDave, [] { return open_as({.uid = kDave}); });
}

TEST_F(Decision, DenyRuleWinsOverAllowedCgroup) {
  const Cgroup slice("/ds01.slice/dave");
  expect_denied(kDave, [&] { return open_as({.uid = kDave, .cgroup = slice.path()}); });
}

TEST_F(Decision, DenyRuleNeverMatchesRoot) {
  expect_allowed(0, [] { return open_as({}); });
}

// ---- 2: host root and exemptions, on the host only ----

TEST_F(Decision, HostRootIsAllowed) {
  const Cgroup deep("/system.slice/a/b/c");
  expect_allowed(0, [&] { return open_as({.cgroup = deep.path()}); });
}

TEST_F(Decision, RootInPidNamespaceIsDenied) {
  expect_denied(0, [] { return open_as({.pid_namespace = true}); });
}

TEST_F(Decision, RootInContainerCgroupIsDenied) {
  for (const auto& name : {kContainerName, std::string("libpod-1"), std::string("cri-containerd-1"),
                           std::string("crio-1"), std::string("machine.slice"), std::string(64, 'b')}) {
    const Cgroup container("/system.slice/" + name);
    expect_denied(0, [&] { return open_as({.cgroup = container.path()}); });
    const Cgroup child(container.path() + "/child");
    expect_denied(0, [&] { return open_as({.cgroup = child.path()}); });
  }
}

TEST_F(Decision, NamesThatOnlyLookLikeContainersAreAllowed) {
  for (const auto& name : {std::string("docker-gc.service"), std::string("docker.service"), std::string(63, 'b'),
                           std::string(65, 'b'), std::string(63, 'b') + "g", std::string("machine.slice2")}) {
    const Cgroup service("/system.slice/" + name);
    expect_allowed(0, [&] { return open_as({.cgroup = service.path()}); });
  }
}

TEST_F(Decision, ExemptGroupMemberIsAllowedOnHostOnly) {
  expect_allowed(kMallory, [] { return open_as({.uid = kMallory}); });
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(kMallory, [&] { return open_as({.uid = kMallory, .cgroup = container.path()}); });
  expect_denied(kMallory, [] { return open_as({.uid = kMallory, .pid_namespace = true}); });
}

TEST_F(Decision, ExemptCgroupIsAllowedOnHostOnly) {
  const Cgroup child("/exempt.slice/child");
  expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = child.path()}); });
  const Cgroup container("/exempt.slice/" + kContainerName);
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path()}); });
}

TEST_F(Decision, PairedRuleNeedsBothCgroupAndUser) {
  const Cgroup child("/paired.slice/child");
  expect_allowed(kBob, [&] { return open_as({.uid = kBob, .cgroup = child.path()}); });
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = child.path()}); });
  expect_denied(kBob, [] { return open_as({.uid = kBob}); });
}

// ---- 3: allowed subtrees ----

TEST_F(Decision, AllowedSliceAllowsContainersInIt) {
  const Cgroup container("/ds01.slice/ds01-student.slice/" + kContainerName);
  expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path()}); });
  expect_allowed(0, [&] { return open_as({.cgroup = container.path(), .pid_namespace = true}); });
  expect_allowed(kAlice, [&] {
    return open_as({.uid = kAlice, .cgroup = container.path(), .pid_namespace = true, .user_namespace = true});
  });
}

TEST_F(Decision, AllowedSliceAllowsEveryClass) {
  const Cgroup container("/ds01.slice/" + kContainerName);
  for (const char* device : {kGpu0, kGpu1, kControl, kCompute, kCapability})
    expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path()}, device); });
}

TEST_F(Decision, SliceThatComesAndGoesIsFollowed) {
  const auto until = [](int wanted) {
    int last = -1;
    for (int i = 0; i < 2000 && last != wanted; ++i) last = open_as({.uid = kAlice, .cgroup = "/ds01.slice"});
    return last;
  };
  {
    const Cgroup slice("/ds01.slice");
    EXPECT_EQ(until(0), 0);
  }
  const Cgroup again("/ds01.slice");
  EXPECT_EQ(until(0), 0);
}

// ---- 4: grants for a user ----

TEST_F(Decision, UserGrantAllowsOnHost) {
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}); });
  grant("alice");
  for (const char* device : {kGpu0, kGpu1, kControl, kCompute})
    expect_allowed(kAlice, [&] { return open_as({.uid = kAlice}, device); });
  expect_denied(kBob, [] { return open_as({.uid = kBob}); });
}

TEST_F(Decision, UserGrantDoesNotCountInContainers) {
  grant("alice");
  const Cgroup container("/system.slice/" + kContainerName);
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = container.path()}); });
  expect_denied(kAlice, [] { return open_as({.uid = kAlice, .pid_namespace = true}); });
}

TEST_F(Decision, UserGrantCountsInOwnUserNamespaceInOwnSliceOnly) {
  grant("alice");
  const Cgroup own("/user.slice/user-1000.slice/session-1.scope");
  const Cgroup other("/user.slice/user-1001.slice/session-2.scope");
  const Cgroup forged("/user.slice/user-1001.slice/user-1000.slice");
  const Cgroup elsewhere("/other.slice/user-1000.slice/session-1.scope");
  const auto in = [](const Cgroup& cgroup) {
    return open_as({.uid = kAlice, .cgroup = cgroup.path(), .user_namespace = true});
  };
  expect_allowed(kAlice, [&] { return in(own); });
  expect_denied(kAlice, [&] { return in(other); });
  expect_denied(kAlice, [&] { return in(forged); });
  expect_denied(kAlice, [&] { return in(elsewhere); });
}

TEST_F(Decision, GrantCoversItsGpusOnly) {
  grant("alice", {"1h", "--gpus", "1"});
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}, kGpu0); });
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}, kGpu1); });
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}, kControl); });
  expect_allowed(kAlice, [] { return open_as({.uid = kAlice}, kCompute); });
}

TEST_F(Decision, PlainGrantCoversNoCapability) {
  grant("alice");
  EXPECT_EQ(open_as({.uid = kAlice}, kCapability), EACCES);
  EXPECT_EQ(denials_of(kAlice, "capability").denied, 1);
}

TEST_F(Decision, GrantEndsByItself) {
  grant("alice", {"15s"});
  const auto no_later = SystemClock().boot() + std::chrono::seconds(15);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  expect_open_until(kAlice, no_later);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  agent().wait_for_audit(
      "expiry", [](const json::object& line) { return line.at("unmapped").at("user").as_string() == "alice"; });
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
}

// ---- 5: grants for a cgroup ----

TEST_F(Decision, CgroupGrantCoversItsSubtree) {
  const Cgroup job("/jobs.slice/job-1");
  const Cgroup container("/jobs.slice/job-1/" + kContainerName);
  const Cgroup sibling("/jobs.slice/job-2");
  grant("cgroup:" + job.path());
  expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = job.path()}); });
  expect_allowed(0, [&] { return open_as({.cgroup = container.path(), .pid_namespace = true}); });
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = sibling.path()}); });
  ctl({"revoke", "cgroup:" + job.path()});
  expect_denied(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = job.path()}); });
}

// ---- 6: nothing matches ----

TEST_F(Decision, NobodyIsDeniedWithEacces) {
  for (const char* device : {kGpu0, kControl, kCompute, kCapability})
    EXPECT_EQ(open_as({.uid = kAlice}, device), EACCES);
}

TEST_F(Decision, UngatedObjectsAreLeftAlone) {
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/etc/passwd"})
    EXPECT_NE(open_as({.uid = kAlice}, path, O_RDONLY), EACCES) << path;
}

// ---- depth ----

TEST_F(Decision, DeepCgroupsAreJudgedAlike) {
  std::string path = "/ds01.slice";
  for (int i = 0; i < 80; ++i) path += "/d";
  const Cgroup allowed(path);
  expect_allowed(kAlice, [&] { return open_as({.uid = kAlice, .cgroup = allowed.path()}); });

  std::string container = "/system.slice/" + kContainerName;
  for (int i = 0; i < 60; ++i) container += "/d";
  const Cgroup denied(container);
  expect_denied(0, [&] { return open_as({.cgroup = denied.path()}); });
}

}  // namespace
}  // namespace ds01::test
