// SPDX-License-Identifier: Apache-2.0
// Grants after they were made: found, revoked, expired, listed.
#include "grants_fixture.h"

namespace ds01::grants {
namespace {

using fake::code;
using fake::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- revoke

TEST_F(ServiceTest, RevokeTakesEveryNameOfTheSubject) {
  for (const auto* name : {"alice", "uid:1000", "g-"}) {
    const auto grant = granted("alice");
    clock_.advance(5min);
    const auto revoked = revoke(name == std::string("g-") ? grant.id() : name);
    ASSERT_TRUE(revoked) << name;
    EXPECT_EQ(revoked->state, State::revoked);
    EXPECT_EQ(revoked->ended, clock_.wall());
    EXPECT_TRUE(kernel_.settled);
    EXPECT_EQ(in_kernel(1000), nullptr);
    EXPECT_EQ(service().living_for_uid(1000), nullptr);
    EXPECT_EQ(service().next_due(), std::nullopt);
    EXPECT_EQ(service().active_count(), 0U);
  }
}

TEST_F(ServiceTest, RevokeOfNothingIsNotFound) {
  EXPECT_THAT(message(revoke("alice")), HasSubstr("alice has no active grant"));
  for (const auto* name : {"alice", "mallory", "g-1", "g-", "g-x", "g-18446744073709551616", "uid:5", "cgroup:/a"})
    EXPECT_EQ(code(revoke(name)), ErrorCode::not_found) << name;
}

TEST_F(ServiceTest, RevokeTwiceIsAConflictById) {
  granted("alice");
  ASSERT_TRUE(revoke("alice"));
  EXPECT_EQ(code(revoke("g-1")), ErrorCode::conflict);
  EXPECT_THAT(message(revoke("g-1")), HasSubstr("already revoked"));
  EXPECT_EQ(code(revoke("alice")), ErrorCode::not_found);
}

TEST_F(ServiceTest, RevokeFailingInTheKernelChangesNothing) {
  granted("alice", 1h);
  kernel_.broken = true;
  EXPECT_EQ(code(revoke("alice")), ErrorCode::system);
  EXPECT_EQ(service().find("alice")->state, State::active);
  EXPECT_EQ(stored().size(), 1U);
  kernel_.broken = false;
  kernel_.settle_broken = true;
  EXPECT_EQ(code(revoke("alice")), ErrorCode::system);
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(stored().size(), 1U);
  kernel_.settle_broken = false;
  EXPECT_TRUE(revoke("alice"));
  EXPECT_THAT(stored(), IsEmpty());
}

TEST_F(ServiceTest, RevokeFindsACgroupThatIsGone) {
  root_.make("job");
  const auto grant = granted("cgroup:/job");
  std::filesystem::remove(root_.path() / "job");
  EXPECT_EQ(service().find("cgroup:/job")->id(), grant.id());
  ASSERT_TRUE(revoke("cgroup:/job"));
  EXPECT_EQ(in_kernel(DS01_SUBJECT_CGROUP, grant.subject.cgroup_id), nullptr);
}

// The same path may name a new cgroup by now: the subject is the path, so its grant is changed, not doubled.
TEST_F(ServiceTest, CgroupMadeAnewKeepsItsGrant) {
  root_.make("job");
  const auto old = granted("cgroup:/job", 1h);
  std::filesystem::rename(root_.path() / "job", root_.path() / "moved");  // keeps its inode from being used again
  root_.make("job");
  const auto living = granted("cgroup:/job", 2h);
  EXPECT_EQ(living.id(), old.id());
  ASSERT_NE(living.subject.cgroup_id, old.subject.cgroup_id);
  EXPECT_EQ(in_kernel(DS01_SUBJECT_CGROUP, old.subject.cgroup_id), nullptr);
  EXPECT_NE(in_kernel(DS01_SUBJECT_CGROUP, living.subject.cgroup_id), nullptr);
  EXPECT_EQ(revoke("cgroup:/job")->id(), living.id());
  EXPECT_TRUE(kernel_.map.empty());
}

TEST_F(ServiceTest, UserAndCgroupWithTheSameNumberAreTwoSubjects) {
  root_.make("job");
  const auto id = cgroups_.find("/job")->id;
  granted("uid:" + std::to_string(id));
  granted("cgroup:/job");
  EXPECT_EQ(service().active_count(), 2U);
  ASSERT_TRUE(revoke("cgroup:/job"));
  EXPECT_NE(service().living_for_uid(static_cast<uid_t>(id)), nullptr);
}

// ---- find

TEST_F(ServiceTest, FindByIdKnowsEndedOnes) {
  granted("alice");
  ASSERT_TRUE(revoke("alice"));
  EXPECT_EQ(service().find("g-1")->state, State::revoked);
  EXPECT_EQ(code(service().find("alice")), ErrorCode::not_found);
}

TEST_F(ServiceTest, FindKeepsTheNameServicesErrors) {
  EXPECT_THAT(message(service().find("mallory")), HasSubstr("no such user"));
  EXPECT_EQ(code(service().find("uid:x")), ErrorCode::invalid);
  users_.broken = true;
  EXPECT_EQ(code(service().find("alice")), ErrorCode::system);
}

// ---- expire

TEST_F(ServiceTest, ExpireBeforeTheEndDoesNothing) {
  granted("alice", 1h);
  clock_.advance(1h - 1ns);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
  EXPECT_NE(in_kernel(1000), nullptr);
}

TEST_F(ServiceTest, ExpireAtTheEndTidiesUp) {
  granted("alice", 1h);
  const auto end = clock_.wall() + 1h;
  clock_.advance(1h);
  const auto expired = service().expire(10);
  ASSERT_THAT(ids(expired), ElementsAre("g-1"));
  EXPECT_EQ(expired->at(0).state, State::expired);
  EXPECT_EQ(expired->at(0).ended, end);
  EXPECT_EQ(expired->at(0).ended_by, std::nullopt);
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_EQ(service().active_count(), 0U);
  EXPECT_EQ(service().find("g-1")->state, State::expired);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
}

TEST_F(ServiceTest, ExpireGoesInBatchesEarliestFirst) {
  granted("uid:5", 3h);
  granted("uid:6", 1h);
  granted("uid:7", 2h);
  granted("uid:8", 5h);
  const auto start = clock_.boot();
  clock_.advance(4h);
  ASSERT_TRUE(service().warn(10));
  EXPECT_EQ(service().next_due(), start + 1h);
  EXPECT_THAT(ids(service().expire(2)), ElementsAre("g-2", "g-3"));
  EXPECT_EQ(service().next_due(), start + 3h);
  EXPECT_THAT(ids(service().expire(2)), ElementsAre("g-1"));
  EXPECT_THAT(ids(service().expire(2)), IsEmpty());
  EXPECT_EQ(service().next_due(), start + 5h - 10min);  // a warning
  EXPECT_EQ(kernel_.map.size(), 1U);
}

TEST_F(ServiceTest, ExpireFailingInTheKernelIsTriedAgain) {
  granted("alice", 1h);
  clock_.advance(2h);
  kernel_.broken = true;
  EXPECT_EQ(code(service().expire(10)), ErrorCode::system);
  EXPECT_EQ(service().active_count(), 1U);
  EXPECT_EQ(stored().size(), 1U);
  kernel_.broken = false;
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
}

// The boot clock is the authority: a wall clock that somebody sets neither ends nor prolongs a grant.
TEST_F(ServiceTest, WallClockSteppedEndsNothing) {
  granted("alice", 1h);
  clock_.step_wall(48h);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
  clock_.step_wall(-96h);
  clock_.advance(1h);
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
}

TEST_F(ServiceTest, PermanentNeverExpires) {
  granted("alice", Permanent{});
  clock_.advance(24h * 36525);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
}

// ---- list

TEST_F(ServiceTest, ListPagesByCursor) {
  for (int uid = 1; uid <= 5; ++uid) granted("uid:" + std::to_string(uid));
  auto page = *service().list(false, std::nullopt, 2, 0);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-1", "g-2"));
  ASSERT_EQ(page.next, 2U);
  page = *service().list(false, std::nullopt, 2, *page.next);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-3", "g-4"));
  ASSERT_EQ(page.next, 4U);
  page = *service().list(false, std::nullopt, 2, *page.next);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-5"));
  EXPECT_EQ(page.next, std::nullopt);
}

TEST_F(ServiceTest, ListFillingThePageExactlyIsTheLast) {
  granted("alice");
  granted("bob");
  EXPECT_EQ(service().list(false, std::nullopt, 2, 0)->next, std::nullopt);
  EXPECT_EQ(service().list(false, std::nullopt, 1, 0)->next, 1U);
  EXPECT_THAT(service().list(false, std::nullopt, 2, 99)->grants, IsEmpty());
}

TEST_F(ServiceTest, ListOfAllMergesEndedInOrder) {
  for (int uid = 1; uid <= 6; ++uid) granted("uid:" + std::to_string(uid));
  ASSERT_TRUE(revoke("g-4"));
  ASSERT_TRUE(revoke("g-2"));
  EXPECT_THAT(ids(service().list(false, std::nullopt, 10, 0)->grants), ElementsAre("g-1", "g-3", "g-5", "g-6"));
  std::vector<std::string> seen;
  std::optional<std::uint64_t> cursor = 0;
  while (cursor) {
    const auto page = *service().list(true, std::nullopt, 2, *cursor);
    for (const auto& id : ids(page.grants)) seen.push_back(id);
    cursor = page.next;
  }
  EXPECT_THAT(seen, ElementsAre("g-1", "g-2", "g-3", "g-4", "g-5", "g-6"));
}

TEST_F(ServiceTest, ListOfOneUserShowsNothingElse) {
  root_.make("job");
  granted("alice");
  granted("bob");
  granted("cgroup:/job");
  ASSERT_TRUE(revoke("alice"));
  granted("alice");
  EXPECT_THAT(ids(service().list(false, 1000, 10, 0)->grants), ElementsAre("g-4"));
  EXPECT_THAT(ids(service().list(true, 1000, 10, 0)->grants), ElementsAre("g-1", "g-4"));
  EXPECT_THAT(ids(service().list(true, 0, 10, 0)->grants), IsEmpty());  // a cgroup's uid field is not root's
}

TEST(State, EveryStateHasAName) {
  EXPECT_EQ(to_string(State::active), "active");
  EXPECT_EQ(to_string(State::expired), "expired");
  EXPECT_EQ(to_string(State::revoked), "revoked");
  EXPECT_EQ(to_string(State::suspended), "suspended");
}

// ---- soft ends

class SoftEndTest : public ServiceTest {
 protected:
  Grant soft_grant() {
    auto asked = request("alice", 1h);
    asked.on_expiry = config::OnExpiry::soft;
    const auto granted = grant(asked);
    EXPECT_EQ(fake::message(granted), "");
    return granted.value_or(Grant{});
  }
};

TEST_F(SoftEndTest, OnlyASoftGrantTellsTheKernelOfAGrace) {
  soft_grant();
  granted("bob", 1h);
  EXPECT_EQ(in_kernel(1000)->value.soft_grace, 24 * 3600 * 1'000'000'000ULL);
  EXPECT_EQ(in_kernel(1001)->value.soft_grace, 0U);
}

TEST_F(SoftEndTest, StaysInTheKernelForItsGrace) {
  soft_grant();
  const auto end = in_kernel(1000)->value.ends;
  clock_.advance(1h);
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
  ASSERT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(in_kernel(1000)->value.ends, end);
  EXPECT_EQ(service().next_due(), clock_.boot() + 24h);
  ASSERT_TRUE(service().release());
  EXPECT_NE(in_kernel(1000), nullptr);
  clock_.advance(24h);
  ASSERT_TRUE(service().release());
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_EQ(service().next_due(), std::nullopt);
}

TEST_F(SoftEndTest, RevokedEndsNowAndStaysForItsGrace) {
  soft_grant();
  clock_.advance(10min);
  ASSERT_TRUE(revoke("alice"));
  ASSERT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(in_kernel(1000)->value.ends, static_cast<std::uint64_t>(clock_.boot().time_since_epoch().count()));
}

TEST_F(SoftEndTest, SurvivesARestartOfTheAgent) {
  soft_grant();
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  restart();
  EXPECT_FALSE(service().sync()->any());
  EXPECT_NE(in_kernel(1000), nullptr);
  clock_.advance(24h);
  ASSERT_TRUE(service().release());
  EXPECT_EQ(in_kernel(1000), nullptr);
}

TEST_F(SoftEndTest, NewGrantTakesItsPlaceForGood) {
  soft_grant();
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  granted("alice", 48h);
  clock_.advance(24h);
  ASSERT_TRUE(service().release());
  ASSERT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(in_kernel(1000)->value.number, 2U);
}

// ---- told in the same transaction

TEST_F(ServiceTest, ExpiryThatIsNotStoredTellsNobody) {
  granted("alice", 1h);
  clock_.advance(1h);
  break_store();
  int told = 0;
  const auto tell = [&](const std::vector<Grant>& grants) { told += static_cast<int>(grants.size()); };
  EXPECT_FALSE(service().expire(10, tell));
  EXPECT_EQ(told, 0);
  mend_store();
  EXPECT_TRUE(service().expire(10, tell));
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace ds01::grants
