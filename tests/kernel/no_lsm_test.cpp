// SPDX-License-Identifier: Apache-2.0
// A kernel without `bpf` in its LSM list takes LSM programs and never runs them: the other backend engages. Linked with
// the tests of the decision and the attacks, which hold on it as well. Boots of its own (tools/test).
#include <bpf/bpf.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "harness.h"
#include "pinned.h"

namespace ds01::test {
namespace {

class WithoutBpfLsm : public WithAgent {};

TEST_F(WithoutBpfLsm, Row25OtherBackendEngagesAndSaysWhatIsBestEffort) {
  const auto status = ctl_json({"status"});
  EXPECT_TRUE(status.at("attached").as_bool());
  EXPECT_EQ(status.at("backend").as_string(), "cgroup_device");
  EXPECT_NE(status.at("backend_reason").as_string().find("lacks 'bpf'"), json::string::npos);
  const auto& best_effort = status.at("best_effort_hooks").as_array();
  EXPECT_EQ(best_effort.size(), 4U);  // all but open
  for (const char* hook : {"ioctl", "mmap", "receive", "connect"})
    EXPECT_NE(std::ranges::find(best_effort, json::value(hook)), best_effort.end()) << hook;
  EXPECT_TRUE(status.at("missing_hooks").as_array().empty());
}

// mknod() of a node is no access to the device; what is opened afterwards is judged.
TEST_F(WithoutBpfLsm, MknodIsNotGated) {
  expect_allowed(0, [] {
    return run_as({}, [] {
      ::unlink("/tmp/mknod-only");
      if (::mknod("/tmp/mknod-only", S_IFCHR | 0666, makedev(195, 0)) != 0) return errno;
      return ::chmod("/tmp/mknod-only", 0666) == 0 ? 0 : errno;  // past the umask
    });
  });
  expect_denied(kAlice, [] { return open_as({.uid = kAlice}, "/tmp/mknod-only"); });
  ::unlink("/tmp/mknod-only");
}

// Links on cgroups know BPF_LINK_DETACH and BPF_LINK_UPDATE.
TEST_F(WithoutBpfLsm, Row24LinkIsNotDetached) {
  const Cgroup container("/system.slice/docker-" + std::string(64, 'f') + ".scope");
  const Fd link = pinned("link_ds01_device");
  ASSERT_TRUE(link);
  expect_denied(
      0,
      [&] {
        return run_as({.cgroup = container.path()}, [&] { return bpf_link_detach(link.get()) == 0 ? 0 : errno; });
      },
      "gate", "detach");
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(WithoutBpfLsm, RestartTakesTheProgramsOver) {
  const auto program = pinned_program_id();
  agent().kill();
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  agent().start_again();
  EXPECT_EQ(pinned_program_id(), program);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

}  // namespace
}  // namespace ds01::test
