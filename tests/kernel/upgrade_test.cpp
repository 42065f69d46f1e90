// SPDX-License-Identifier: Apache-2.0
// An upgrade: programs of another build take over from pinned ones.
#include <stdio.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "attacker.h"
#include "harness.h"
#include "pinned.h"

namespace ds01::test {
namespace {

constexpr uid_t kGranted = 3002;

// Another build's programs are replaced while a granted and a denied user open without a pause: neither notices, and
// each open is counted once.
class Upgrade : public WithAgent {
 protected:
  void SetUp() override { EXPECT_EQ(ctl({"grant", "uid:3002", "permanent"}).code, 0); }

  void TearDown() override { ctl({"revoke", "uid:3002"}); }

  static void upgrade() {
    agent().kill();
    pretend_other_build();
    agent().start_again();
  }
};

TEST_F(Upgrade, NobodySlipsThroughNobodyIsShutOutAllIsCountedOnce) {
  const auto program = pinned_program_id();
  const auto denied_before = pinned_count(kAttacker).verdicts[DS01_DENIED];
  const auto allowed_before = pinned_count(kGranted).verdicts[DS01_ALLOWED];
  OpenLoop denied(kAttacker);
  OpenLoop granted(kGranted);
  for (int i = 0; i < 2; ++i) upgrade();
  const auto d = denied.finish();
  const auto g = granted.finish();
  EXPECT_NE(pinned_program_id(), program);
  EXPECT_EQ(d.successes, 0);
  EXPECT_EQ(d.denials, d.tries);
  EXPECT_EQ(g.successes, g.tries);
  EXPECT_EQ(pinned_count(kAttacker).verdicts[DS01_DENIED] - denied_before, static_cast<std::uint64_t>(d.tries));
  EXPECT_EQ(pinned_count(kGranted).verdicts[DS01_ALLOWED] - allowed_before, static_cast<std::uint64_t>(g.tries));
}

TEST_F(Upgrade, WouldBeDenialsAreCountedOnce) {
  EXPECT_EQ(ctl({"mode", "monitoring"}).code, 0);
  const auto before = pinned_count(kAttacker).verdicts[DS01_WOULD_DENY];
  OpenLoop loop(kAttacker);
  upgrade();
  const auto all = loop.finish();
  EXPECT_EQ(all.successes, all.tries);
  EXPECT_EQ(pinned_count(kAttacker).verdicts[DS01_WOULD_DENY] - before, static_cast<std::uint64_t>(all.tries));
  EXPECT_EQ(ctl({"mode", "--default"}).code, 0);
}

TEST_F(Upgrade, Attack23KilledInTheMiddleLetsNobodyThrough) {
  OpenLoop denied(kAttacker);
  OpenLoop granted(kGranted);
  std::mt19937 random(23);
  agent().kill();
  for (int i = 0; i < 8; ++i) {
    pretend_other_build();
    agent().launch();
    denied.wait_for_tries(static_cast<long>(random() % 4000));
    agent().kill();
  }
  agent().start_again();
  EXPECT_EQ(denied.finish().successes, 0);
  const auto g = granted.finish();
  EXPECT_EQ(g.successes, g.tries);
}

// Maps of another shape cannot be shared: the newcomer fills its own before it is attached.
TEST_F(Upgrade, AnotherAbiIsReplacedWithoutAGap) {
  OpenLoop denied(kAttacker);
  OpenLoop granted(kGranted);
  agent().kill();
  ASSERT_EQ(::rename(kPinFolder.c_str(), "/sys/fs/bpf/ds01/v999"), 0);
  agent().start_again();
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/ds01/v999"));
  EXPECT_EQ(denied.finish().successes, 0);
  const auto g = granted.finish();
  EXPECT_EQ(g.successes, g.tries);
}

// Its own maps would be empty, so whoever has a grant would lose it.
TEST_F(Upgrade, AnotherAbiIsNotReplacedWithoutAStore) {
  const std::filesystem::path database = "/var/lib/ds01/ds01.db";
  const auto saved = database.string() + ".saved";
  OpenLoop denied(kAttacker);
  OpenLoop granted(kGranted);
  EXPECT_EQ(agent().stop(), 0);
  ASSERT_EQ(::rename(kPinFolder.c_str(), "/sys/fs/bpf/ds01/v999"), 0);
  std::filesystem::rename(database, saved);
  std::ofstream{database};
  for (int i = 0; i < 2; ++i) {  // also on the maps that the first has left
    agent().launch();
    const auto said = agent().wait_notification();
    EXPECT_TRUE(said.starts_with("STATUS=Not taking over: ")) << said;
    agent().kill();
  }
  EXPECT_TRUE(std::filesystem::exists("/sys/fs/bpf/ds01/v999"));
  EXPECT_EQ(denied.finish().successes, 0);
  const auto g = granted.finish();
  EXPECT_EQ(g.successes, g.tries);
  std::filesystem::rename(saved, database);
  agent().start_again();
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/ds01/v999"));
  EXPECT_EQ(open_as({.uid = kGranted}), 0);
}

}  // namespace
}  // namespace ds01::test
