// SPDX-License-Identifier: Apache-2.0
// Grants and what changes around them: ends that move, warnings, accounts, cgroups, a kernel that holds something else.
#include <cstring>
#include <functional>

#include "grants_fixture.h"

namespace ds01::grants {
namespace {

using fake::code;
using fake::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- extend

TEST_F(ServiceTest, ExtendMovesTheEndOnItsClock) {
  granted("alice", 1h);
  granted("bob", clock_.wall() + 1h);
  clock_.advance(30min);
  EXPECT_EQ(service().extend("alice", 2h)->end, End(clock_.boot() + 2h + 30min));
  EXPECT_EQ(service().extend("g-2", 2h)->end, End(clock_.wall() + 2h + 30min));
  EXPECT_EQ(service().find("alice")->term, 2h + 30min);
  EXPECT_EQ(in_kernel(1000)->value.ends, 1000'000'000'000U + 3 * 3600'000'000'000U);
  restart();
  EXPECT_EQ(service().find("alice")->end, End(clock_.boot() + 2h + 30min));
}

TEST_F(ServiceTest, ExtendIsLimitedByWhatIsThenLeft) {
  granted("alice", 7 * 24h);
  EXPECT_THAT(message(service().extend("alice", 1s)), HasSubstr("maximum of 7d (grants.maximum in agent.yaml)"));
  EXPECT_THAT(message(service().extend("alice", std::chrono::seconds::max())), HasSubstr("maximum of 7d"));
  clock_.advance(24h);
  EXPECT_TRUE(service().extend("alice", 24h));
  EXPECT_EQ(service().find("alice")->end, End(clock_.boot() + 7 * 24h));
}

TEST_F(ServiceTest, ExtendOfWhatHasNoEndToMoveIsAConflict) {
  granted("alice", Permanent{});
  EXPECT_THAT(message(service().extend("alice", 1h)), HasSubstr("permanent"));
  EXPECT_EQ(code(service().extend("bob", 1h)), ErrorCode::not_found);
  granted("bob", 1h);
  EXPECT_EQ(code(service().extend("bob", 0s)), ErrorCode::invalid);
  EXPECT_EQ(code(service().extend("bob", -1h)), ErrorCode::invalid);
  clock_.advance(1h);
  EXPECT_THAT(message(service().extend("bob", 1h)), HasSubstr("has ended"));
  ASSERT_TRUE(service().expire(10));
  EXPECT_THAT(message(service().extend("g-2", 1h)), HasSubstr("already expired"));
}

TEST_F(ServiceTest, ExtendFailingInTheKernelChangesNothing) {
  const auto before = granted("alice", 1h);
  kernel_.broken = true;
  EXPECT_EQ(code(service().extend("alice", 1h)), ErrorCode::system);
  EXPECT_EQ(service().find("alice")->end, before.end);
  EXPECT_EQ(stored().at(0).end, before.end);
}

TEST_F(ServiceTest, RevokeReasonIsCheckedLikeAGrants) {
  granted("alice");
  EXPECT_THAT(message(service().revoke("alice", actor_, std::string(501, 'x'))), HasSubstr("500 bytes"));
  for (const auto* text : {"a\nb", "a\u202eb", "a\u009bb", "a\xff"})
    EXPECT_THAT(message(service().revoke("alice", actor_, text)), HasSubstr("control characters")) << text;
  EXPECT_EQ(service().active_count(), 1U);
  EXPECT_EQ(service().revoke("alice", actor_, "done")->end_reason, "done");
}

// ---- warnings

TEST_F(ServiceTest, WarnsAtEachLead) {
  granted("alice", 2h);
  EXPECT_EQ(service().next_due(), clock_.boot() + 1h);
  clock_.advance(1h - 1ns);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  clock_.advance(1ns);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  EXPECT_EQ(service().find("alice")->warned, 1h);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  EXPECT_EQ(service().next_due(), clock_.boot() + 50min);
  clock_.advance(50min);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  EXPECT_EQ(service().next_due(), clock_.boot() + 10min);  // the end
}

TEST_F(ServiceTest, WarningsMissedAreOne) {
  granted("alice", 2h);
  clock_.advance(115min);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  EXPECT_EQ(service().find("alice")->warned, 10min);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
}

TEST_F(ServiceTest, WarningIsNotRepeatedAfterARestart) {
  granted("alice", 2h);
  clock_.advance(1h);
  ASSERT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  restart();
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  EXPECT_EQ(service().next_due(), clock_.boot() + 50min);
}

TEST_F(ServiceTest, WarningThatCannotBeStoredIsNotGiven) {
  granted("alice", 2h);
  clock_.advance(1h);
  break_store();
  EXPECT_EQ(code(service().warn(10)), ErrorCode::system);
  mend_store();
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
}

TEST_F(ServiceTest, ShortGrantIsWarnedAtHalfOfItsTerm) {
  granted("alice", 10min);
  granted("bob", 4s);
  EXPECT_EQ(service().next_due(), clock_.boot() + 2s);
  clock_.advance(2s);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-2"));
  EXPECT_EQ(service().next_due(), clock_.boot() + 2s);
  clock_.advance(4min + 58s);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  EXPECT_EQ(service().find("alice")->warned, 5min);
}

TEST_F(ServiceTest, WarningsBeginAnewWithANewEnd) {
  granted("alice", 2h);
  clock_.advance(1h);
  ASSERT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  ASSERT_TRUE(service().extend("alice", 1h));
  EXPECT_EQ(service().next_due(), clock_.boot() + 1h);
  clock_.advance(1h);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
  granted("alice", 2h);
  clock_.advance(1h);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
}

TEST_F(ServiceTest, WarningsFollowTheWallClockWhereTheEndDoes) {
  granted("alice", clock_.wall() + 48h);
  clock_.step_wall(47h);
  EXPECT_THAT(ids(service().warn(10)), ElementsAre("g-1"));
}

TEST_F(ServiceTest, WarningsComeInBatches) {
  for (int uid = 1; uid <= 3; ++uid) granted("uid:" + std::to_string(uid), 2h);
  clock_.advance(1h);
  EXPECT_THAT(ids(service().warn(2)), ElementsAre("g-1", "g-2"));
  EXPECT_THAT(ids(service().warn(2)), ElementsAre("g-3"));
}

TEST_F(ServiceTest, WarningsNewlyConfiguredHoldForLivingGrants) {
  granted("alice", 4h);
  granted("bob", Permanent{});
  leads_ = {3h};
  configure();
  EXPECT_EQ(service().next_due(), clock_.boot() + 1h);
  leads_ = {};
  configure();
  EXPECT_EQ(service().next_due(), clock_.boot() + 4h);
}

TEST_F(ServiceTest, NobodyIsWarnedOfAnEndThatWas) {
  granted("alice", 2h);
  clock_.advance(2h);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
}

// ---- accounts

class AccountTest : public ServiceTest {
 protected:
  void reuse_uid_of_alice() {
    users_.uids.erase("alice");
    users_.uids["eve"] = 1000;
  }
  std::vector<AccountChange> check(std::size_t limit = 100) {
    std::uint64_t cursor = 0;
    auto changes = service().check_accounts(&cursor, limit);
    EXPECT_EQ(message(changes), "");
    return changes.value_or(std::vector<AccountChange>{});
  }
};

TEST_F(AccountTest, ReusedIsSuspendedAndReported) {
  granted("alice", 1h);
  granted("bob", 1h);
  reuse_uid_of_alice();
  const auto changes = check();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].grant.state, State::suspended);
  EXPECT_EQ(changes[0].why, "uid 1000 is eve now");
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_TRUE(kernel_.settled);
  EXPECT_NE(in_kernel(1001), nullptr);
  EXPECT_EQ(service().living_for_uid(1000)->state, State::suspended);
  EXPECT_EQ(service().active_count(), 1U);
  EXPECT_EQ(service().suspended_count(), 1U);
  EXPECT_EQ(stored().at(0).state, State::suspended);
  EXPECT_THAT(check(), IsEmpty());
}

TEST_F(AccountTest, DeletedIsSuspendedAndComesBack) {
  granted("alice", 2h);
  users_.uids.erase("alice");
  EXPECT_THAT(check(), IsEmpty());
  EXPECT_TRUE(service().misses_accounts());
  EXPECT_EQ(check().at(0).why, "uid 1000 has no account any more");
  EXPECT_FALSE(service().misses_accounts());
  EXPECT_EQ(service().find("alice")->state, State::suspended);  // by the name that was recorded
  users_.uids["alice"] = 1000;
  const auto changes = check();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].why, "uid 1000 is alice again");
  EXPECT_EQ(changes[0].grant.state, State::active);
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(service().suspended_count(), 0U);
  EXPECT_EQ(stored().at(0).state, State::active);
}

// A directory service that comes up after us knows nobody for a while.
TEST_F(AccountTest, AbsentForAMomentIsNotSuspended) {
  granted("alice", 2h);
  users_.uids.erase("alice");
  reboot();
  EXPECT_THAT(*agent_->loaded, IsEmpty());
  ASSERT_TRUE(service().sync());
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_THAT(check(), IsEmpty());
  users_.uids["alice"] = 1000;
  EXPECT_THAT(check(), IsEmpty());
  EXPECT_FALSE(service().misses_accounts());
  EXPECT_EQ(service().find("alice")->state, State::active);
}

// The uid is somebody else's: what ends is not theirs to be told of.
TEST_F(AccountTest, SuspendedEndsWithAReason) {
  granted("alice", 1h);
  reuse_uid_of_alice();
  check();
  clock_.advance(1h);
  EXPECT_EQ(service().expire(10)->at(0).end_reason, "account changed");
}

TEST_F(AccountTest, ChangeIsSeenAtStartBeforeAnythingIsInForce) {
  granted("alice", 1h);
  granted("bob", 1h);
  reuse_uid_of_alice();
  reboot();
  ASSERT_EQ(agent_->loaded->size(), 1U);
  EXPECT_EQ(agent_->loaded->at(0).why, "uid 1000 is eve now");
  ASSERT_TRUE(service().sync());
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_NE(in_kernel(1001), nullptr);
  restart();
  EXPECT_THAT(*agent_->loaded, IsEmpty());
  EXPECT_EQ(service().living_for_uid(1000)->state, State::suspended);
}

TEST_F(AccountTest, ChangeWhileTheAgentWasDownIsNoDrift) {
  granted("alice", 1h);
  reuse_uid_of_alice();
  restart();
  EXPECT_FALSE(service().sync()->any());
  EXPECT_EQ(in_kernel(1000), nullptr);
}

TEST_F(AccountTest, NameServiceThatFailsSuspendsNothing) {
  granted("alice", 1h);
  reuse_uid_of_alice();
  users_.broken = true;
  EXPECT_THAT(check(), IsEmpty());
  restart();
  EXPECT_THAT(*agent_->loaded, IsEmpty());
  EXPECT_EQ(service().living_for_uid(1000)->state, State::active);
  EXPECT_NE(in_kernel(1000), nullptr);
}

TEST_F(AccountTest, NameServiceThatFailsIsAskedOnce) {
  for (const auto* name : {"alice", "bob", "carol"}) granted(name);
  users_.broken = true;
  users_.lookups = 0;
  check();
  EXPECT_EQ(users_.lookups, 1);
  restart();
  EXPECT_EQ(users_.lookups, 2);
}

TEST_F(AccountTest, UidWithoutAnAccountIsNotLookedUp) {
  granted("uid:4242");
  users_.uids["mallory"] = 4242;
  EXPECT_THAT(check(), IsEmpty());
}

TEST_F(AccountTest, ChecksGoOnBehindTheCursor) {
  for (const auto* name : {"alice", "bob", "carol"}) granted(name);
  users_.uids = {{"x", 1000}, {"y", 1001}, {"z", 1002}};
  std::uint64_t cursor = 0;
  EXPECT_EQ(service().check_accounts(&cursor, 2)->size(), 2U);
  EXPECT_EQ(cursor, 2U);
  EXPECT_EQ(service().check_accounts(&cursor, 2)->size(), 1U);
  EXPECT_EQ(cursor, 0U);
}

TEST_F(AccountTest, SuspensionThatFailsChangesNothing) {
  granted("alice", 1h);
  reuse_uid_of_alice();
  kernel_.broken = true;
  std::uint64_t cursor = 0;
  EXPECT_EQ(code(service().check_accounts(&cursor, 10)), ErrorCode::system);
  EXPECT_EQ(service().living_for_uid(1000)->state, State::active);
  EXPECT_EQ(stored().at(0).state, State::active);
  kernel_.broken = false;
  kernel_.settle_broken = true;
  EXPECT_EQ(code(service().check_accounts(&cursor, 10)), ErrorCode::system);
  EXPECT_NE(in_kernel(1000), nullptr);
  kernel_.settle_broken = false;
  break_store();
  EXPECT_EQ(code(service().check_accounts(&cursor, 10)), ErrorCode::system);
  EXPECT_NE(in_kernel(1000), nullptr);
  mend_store();
  EXPECT_EQ(check().size(), 1U);
}

TEST_F(AccountTest, GrantToTheNewAccountLeavesNothingOfTheOld) {
  granted("alice", 7 * 24h, "0");
  reuse_uid_of_alice();
  check();
  const auto grant = granted("eve", 1h);
  EXPECT_EQ(grant.id(), "g-2");
  const auto old = service().find("g-1");
  EXPECT_EQ(old->state, State::revoked);
  EXPECT_EQ(old->end_reason, "account changed");
  EXPECT_EQ(old->ended_by->name, "root");
  EXPECT_EQ(service().living_for_uid(1000)->id(), "g-2");
  EXPECT_EQ(service().suspended_count(), 0U);
  EXPECT_EQ(in_kernel(1000)->value.number, 2U);
  clock_.advance(1h);
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-2"));
}

// The change is noticed by the grant itself, before any check.
TEST_F(AccountTest, GrantToTheNewAccountDoesNotInheritAnActiveOne) {
  granted("alice", Permanent{});
  reuse_uid_of_alice();
  EXPECT_EQ(granted("uid:1000", 1h).subject.display(), "eve");
  EXPECT_EQ(service().find("g-1")->state, State::revoked);
}

TEST_F(AccountTest, GrantToTheNewAccountThatFailsKeepsTheOld) {
  granted("alice", 2h);
  reuse_uid_of_alice();
  check();
  kernel_.broken = true;
  EXPECT_FALSE(grant("eve", 1h));
  EXPECT_EQ(service().living_for_uid(1000)->id(), "g-1");
  ASSERT_EQ(stored().size(), 1U);
  EXPECT_EQ(stored()[0].state, State::suspended);
}

TEST_F(AccountTest, GrantToTheAccountThatCameBackResumes) {
  granted("alice", 1h);
  users_.uids.erase("alice");
  check();
  users_.uids["alice"] = 1000;
  EXPECT_EQ(granted("alice", 2h).id(), "g-1");
  EXPECT_EQ(service().suspended_count(), 0U);
  EXPECT_NE(in_kernel(1000), nullptr);
}

TEST_F(AccountTest, SuspendedIsNotWarned) {
  granted("alice", 2h);
  reuse_uid_of_alice();
  check();
  clock_.advance(1h);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
}

TEST_F(AccountTest, SuspendedIsRevokedExpiredAndNotExtended) {
  granted("alice", 1h);
  granted("bob", 1h);
  users_.uids.clear();
  check();
  EXPECT_EQ(code(service().extend("g-1", 1h)), ErrorCode::conflict);
  EXPECT_THAT(message(service().extend("g-1", 1h)), HasSubstr("suspended"));
  EXPECT_TRUE(revoke("alice"));
  clock_.advance(1h);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-2"));
  EXPECT_EQ(service().suspended_count(), 0U);
}

TEST_F(AccountTest, ExtendNoticesTheNewAccount) {
  granted("alice", 1h);
  reuse_uid_of_alice();
  EXPECT_EQ(code(service().extend("eve", 1h)), ErrorCode::conflict);
  EXPECT_THAT(message(service().extend("g-1", 1h)), HasSubstr("uid 1000 is not alice any more"));
  users_.broken = true;
  EXPECT_TRUE(service().extend("g-1", 1h));
}

TEST_F(AccountTest, RevokeByNameWorksWhileTheNameServiceIsDown) {
  granted("alice");
  users_.broken = true;
  EXPECT_EQ(revoke("alice")->state, State::revoked);
  EXPECT_EQ(in_kernel(1000), nullptr);
}

TEST_F(AccountTest, NameRecordedIsTheOneOfTheUid) {
  users_.uids["zalice"] = 1000;  // name_of() says alice
  EXPECT_EQ(granted("zalice").subject.name, "alice");
  EXPECT_THAT(check(), IsEmpty());
}

// ---- cgroups

TEST_F(ServiceTest, CgroupThatGoesAndComesBackIsFollowed) {
  root_.make("job");
  const auto before = granted("cgroup:/job", 1h).subject.cgroup_id;
  EXPECT_THAT(service().cgroup_paths(), ElementsAre("/job"));
  std::filesystem::rename(root_.path() / "job", root_.path() / "moved");
  ASSERT_TRUE(service().refresh_cgroups());
  EXPECT_TRUE(kernel_.map.empty());
  EXPECT_EQ(service().find("cgroup:/job")->subject.cgroup_id, 0U);
  root_.make("job");
  ASSERT_TRUE(service().refresh_cgroups());
  const auto after = service().find("cgroup:/job")->subject.cgroup_id;
  EXPECT_NE(after, before);
  ASSERT_NE(in_kernel(DS01_SUBJECT_CGROUP, after), nullptr);
  EXPECT_EQ(in_kernel(DS01_SUBJECT_CGROUP, after)->depth, 1U);
}

TEST_F(ServiceTest, CgroupMissingAtStartWaits) {
  root_.make("job");
  granted("cgroup:/job", Permanent{});
  std::filesystem::remove(root_.path() / "job");
  reboot();
  ASSERT_TRUE(service().sync());
  EXPECT_TRUE(kernel_.map.empty());
  EXPECT_EQ(service().active_count(), 1U);
  root_.make("job");
  ASSERT_TRUE(service().refresh_cgroups());
  EXPECT_EQ(kernel_.map.size(), 1U);
}

TEST_F(ServiceTest, CgroupChangeThatFailsIsTriedAgain) {
  root_.make("job");
  granted("cgroup:/job");
  std::filesystem::rename(root_.path() / "job", root_.path() / "moved");
  kernel_.broken = true;
  EXPECT_FALSE(service().refresh_cgroups());
  kernel_.broken = false;
  ASSERT_TRUE(service().refresh_cgroups());
  EXPECT_TRUE(kernel_.map.empty());
}

// ---- drift

TEST_F(ServiceTest, SyncSeesEveryPartOfAnEntry) {
  granted("alice", 1h, "0");
  auto& value = kernel_.map[{DS01_SUBJECT_UID, 1000}].value;
  const auto right = value;
  const std::function<void()> changes[] = {[&] { value.ends += 1; }, [&] { value.clock = DS01_WALL_CLOCK; },
                                           [&] { value.gpus[3] = 1; }, [&] { value.caps[15] = 1; },
                                           [&] { value.soft_grace = 1; }};
  for (std::size_t i = 0; i < std::size(changes); ++i) {
    changes[i]();
    EXPECT_EQ(service().sync()->different, 1U) << i;
    EXPECT_EQ(std::memcmp(&value, &right, sizeof value), 0) << i;
  }
}

TEST_F(ServiceTest, SyncRepairsAndReportsWhatTheKernelHasOtherwise) {
  for (const auto* name : {"alice", "bob", "carol"}) granted(name, 1h, "0");
  kernel_.map.erase({DS01_SUBJECT_UID, 1000});
  kernel_.map[{DS01_SUBJECT_UID, 1001}].value.ends += 1;
  kernel_.map[{DS01_SUBJECT_UID, 66}] = {{66, DS01_SUBJECT_UID, 0}, {DS01_NEVER, 9, 0, {}, {}, 0, 0}, 0};
  kernel_.puts = 0;
  const auto drift = service().sync();
  ASSERT_TRUE(drift);
  EXPECT_EQ(drift->missing, 1U);
  EXPECT_EQ(drift->different, 1U);
  EXPECT_EQ(drift->unknown, 1U);
  EXPECT_THAT(drift->examples,
              ElementsAre("g-9 for uid 66 was in force, but not in the store",
                          "g-2 for bob was in force with another end or scope", "g-1 for alice was not in force"));
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(in_kernel(1001)->value.ends, in_kernel(1002)->value.ends);
  EXPECT_EQ(in_kernel(66), nullptr);
  EXPECT_EQ(kernel_.puts, 1);
  EXPECT_TRUE(kernel_.settled);
  EXPECT_FALSE(service().sync()->any());
}

TEST_F(ServiceTest, SyncSeesEveryField) {
  granted("alice", 1h, "0");
  const auto right = *in_kernel(1000);
  auto& entry = kernel_.map[{DS01_SUBJECT_UID, 1000}];
  const std::function<void()> changes[] = {[&] { entry.value.ends = DS01_NEVER; },
                                           [&] { entry.value.clock = DS01_WALL_CLOCK; },
                                           [&] { entry.value.gpus[3] = 1; }, [&] { entry.value.number = 7; }};
  for (const auto& change : changes) {
    change();
    EXPECT_EQ(service().sync()->different, 1U);
    EXPECT_EQ(entry.value.ends, right.value.ends);
    EXPECT_EQ(entry.value.clock, right.value.clock);
    EXPECT_EQ(entry.value.gpus[3], 0U);
    EXPECT_EQ(entry.value.number, 1U);
  }
}

TEST_F(ServiceTest, SyncLeavesWhatHasEndedToExpire) {
  granted("alice", 1h);
  clock_.advance(1h);
  EXPECT_FALSE(service().sync()->any());
  EXPECT_NE(in_kernel(1000), nullptr);
  kernel_.map.clear();
  EXPECT_FALSE(service().sync()->any());
  EXPECT_EQ(in_kernel(1000), nullptr);
}

TEST_F(ServiceTest, SyncNamesTenExamplesAndCountsAll) {
  for (std::uint64_t uid = 1; uid <= 12; ++uid)
    kernel_.map[{DS01_SUBJECT_UID, uid}] = {{uid, DS01_SUBJECT_UID, 0}, {DS01_NEVER, uid, 0, {}, {}, 0, 0}, 0};
  const auto drift = service().sync();
  EXPECT_EQ(drift->unknown, 12U);
  EXPECT_EQ(drift->examples.size(), 10U);
}

}  // namespace
}  // namespace ds01::grants
