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

std::vector<std::string> ids(const std::vector<Grant>& grants) {
  std::vector<std::string> ids;
  for (const auto& grant : grants) ids.push_back(grant.id());
  return ids;
}

// ---- revoke

TEST_F(ServiceTest, RevokeTakesEveryNameOfTheSubject) {
  for (const auto* name : {"alice", "uid:1000", "g-"}) {
    const auto grant = granted("alice");
    clock_.advance(5min);
    const auto revoked = service_.revoke(name == std::string("g-") ? grant.id() : name);
    ASSERT_TRUE(revoked) << name;
    EXPECT_EQ(revoked->state, State::revoked);
    EXPECT_EQ(revoked->ends_wall, clock_.wall());
    EXPECT_EQ(in_kernel(1000), nullptr);
    EXPECT_EQ(service_.active_for_uid(1000), nullptr);
    EXPECT_EQ(service_.next_end(), std::nullopt);
    EXPECT_EQ(service_.active_count(), 0U);
  }
}

TEST_F(ServiceTest, RevokeOfNothingIsNotFound) {
  EXPECT_THAT(message(service_.revoke("alice")), HasSubstr("alice has no active grant"));
  for (const auto* name : {"alice", "mallory", "g-1", "g-", "g-x", "g-18446744073709551616", "uid:5", "cgroup:/a"})
    EXPECT_EQ(code(service_.revoke(name)), ErrorCode::not_found) << name;
}

TEST_F(ServiceTest, RevokeTwiceIsAConflictById) {
  granted("alice");
  ASSERT_TRUE(service_.revoke("alice"));
  EXPECT_EQ(code(service_.revoke("g-1")), ErrorCode::conflict);
  EXPECT_THAT(message(service_.revoke("g-1")), HasSubstr("already revoked"));
  EXPECT_EQ(code(service_.revoke("alice")), ErrorCode::not_found);
}

TEST_F(ServiceTest, RevokeFailingInTheKernelChangesNothing) {
  granted("alice", 1h);
  kernel_.broken = true;
  EXPECT_EQ(code(service_.revoke("alice")), ErrorCode::system);
  EXPECT_EQ(service_.find("alice")->state, State::active);
  EXPECT_EQ(service_.next_end(), clock_.boot() + 1h);
  kernel_.broken = false;
  EXPECT_TRUE(service_.revoke("alice"));
}

TEST_F(ServiceTest, RevokeFindsACgroupThatIsGone) {
  root_.make("job");
  const auto grant = granted("cgroup:/job");
  std::filesystem::remove(root_.path() / "job");
  EXPECT_EQ(service_.find("cgroup:/job")->id(), grant.id());
  ASSERT_TRUE(service_.revoke("cgroup:/job"));
  EXPECT_EQ(in_kernel(DS01_SUBJECT_CGROUP, grant.subject.cgroup_id), nullptr);
}

// The same path may name a new cgroup by now, with a grant of its own: that one is meant.
TEST_F(ServiceTest, RevokeOfACgroupMadeAnewEndsTheLivingOnesGrant) {
  root_.make("job");
  const auto old = granted("cgroup:/job");
  std::filesystem::rename(root_.path() / "job", root_.path() / "moved");  // keeps its inode from being used again
  root_.make("job");
  const auto living = granted("cgroup:/job");
  ASSERT_NE(living.subject.cgroup_id, old.subject.cgroup_id);
  EXPECT_EQ(service_.revoke("cgroup:/job")->id(), living.id());
  EXPECT_EQ(in_kernel(DS01_SUBJECT_CGROUP, living.subject.cgroup_id), nullptr);
  EXPECT_EQ(service_.revoke("cgroup:/job")->id(), old.id());
  EXPECT_TRUE(kernel_.entries.empty());
}

TEST_F(ServiceTest, UserAndCgroupWithTheSameNumberAreTwoSubjects) {
  root_.make("job");
  const auto id = cgroups_.find("/job")->id;
  granted("uid:" + std::to_string(id));
  granted("cgroup:/job");
  EXPECT_EQ(service_.active_count(), 2U);
  ASSERT_TRUE(service_.revoke("cgroup:/job"));
  EXPECT_NE(service_.active_for_uid(static_cast<uid_t>(id)), nullptr);
}

// ---- find

TEST_F(ServiceTest, FindByIdKnowsEndedOnes) {
  granted("alice");
  ASSERT_TRUE(service_.revoke("alice"));
  EXPECT_EQ(service_.find("g-1")->state, State::revoked);
  EXPECT_EQ(code(service_.find("alice")), ErrorCode::not_found);
}

TEST_F(ServiceTest, FindKeepsTheNameServicesErrors) {
  EXPECT_THAT(message(service_.find("mallory")), HasSubstr("no such user"));
  EXPECT_EQ(code(service_.find("uid:x")), ErrorCode::invalid);
  users_.broken = true;
  EXPECT_EQ(code(service_.find("alice")), ErrorCode::system);
}

// ---- expire

TEST_F(ServiceTest, ExpireBeforeTheEndDoesNothing) {
  granted("alice", 1h);
  clock_.advance(1h - 1ns);
  EXPECT_THAT(service_.expire(10), IsEmpty());
  EXPECT_NE(in_kernel(1000), nullptr);
}

TEST_F(ServiceTest, ExpireAtTheEndTidiesUp) {
  granted("alice", 1h);
  const auto end = clock_.wall() + 1h;
  clock_.advance(1h);
  const auto expired = service_.expire(10);
  ASSERT_THAT(ids(expired), ElementsAre("g-1"));
  EXPECT_EQ(expired[0].state, State::expired);
  EXPECT_EQ(expired[0].ends_wall, end);
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_EQ(service_.active_count(), 0U);
  EXPECT_EQ(service_.find("g-1")->state, State::expired);
  EXPECT_THAT(service_.expire(10), IsEmpty());
}

TEST_F(ServiceTest, ExpireGoesInBatchesEarliestFirst) {
  granted("uid:5", 3h);
  granted("uid:6", 1h);
  granted("uid:7", 2h);
  granted("uid:8", 5h);
  EXPECT_EQ(service_.next_end(), clock_.boot() + 1h);
  const auto start = clock_.boot();
  clock_.advance(4h);
  EXPECT_THAT(ids(service_.expire(2)), ElementsAre("g-2", "g-3"));
  EXPECT_EQ(service_.next_end(), start + 3h);
  EXPECT_THAT(ids(service_.expire(2)), ElementsAre("g-1"));
  EXPECT_THAT(ids(service_.expire(2)), IsEmpty());
  EXPECT_EQ(service_.next_end(), start + 5h);
  EXPECT_EQ(kernel_.entries.size(), 1U);
}

TEST_F(ServiceTest, ExpireFailingInTheKernelIsTriedAgain) {
  granted("alice", 1h);
  clock_.advance(2h);
  kernel_.broken = true;
  EXPECT_THAT(service_.expire(10), IsEmpty());
  EXPECT_EQ(service_.active_count(), 1U);
  kernel_.broken = false;
  EXPECT_THAT(ids(service_.expire(10)), ElementsAre("g-1"));
}

// The boot clock is the authority: a wall clock that somebody sets neither ends nor prolongs a grant.
TEST_F(ServiceTest, WallClockSteppedEndsNothing) {
  granted("alice", 1h);
  clock_.step_wall(48h);
  EXPECT_THAT(service_.expire(10), IsEmpty());
  clock_.step_wall(-96h);
  clock_.advance(1h);
  EXPECT_THAT(ids(service_.expire(10)), ElementsAre("g-1"));
}

TEST_F(ServiceTest, PermanentNeverExpires) {
  granted("alice", Permanent{});
  clock_.advance(24h * 36525);
  EXPECT_THAT(service_.expire(10), IsEmpty());
}

// ---- list

TEST_F(ServiceTest, ListPagesByCursor) {
  for (int uid = 1; uid <= 5; ++uid) granted("uid:" + std::to_string(uid));
  auto page = service_.list(false, std::nullopt, 2, 0);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-1", "g-2"));
  ASSERT_EQ(page.next, 2U);
  page = service_.list(false, std::nullopt, 2, *page.next);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-3", "g-4"));
  ASSERT_EQ(page.next, 4U);
  page = service_.list(false, std::nullopt, 2, *page.next);
  EXPECT_THAT(ids(page.grants), ElementsAre("g-5"));
  EXPECT_EQ(page.next, std::nullopt);
}

TEST_F(ServiceTest, ListFillingThePageExactlyIsTheLast) {
  granted("alice");
  granted("bob");
  EXPECT_EQ(service_.list(false, std::nullopt, 2, 0).next, std::nullopt);
  EXPECT_EQ(service_.list(false, std::nullopt, 1, 0).next, 1U);
  EXPECT_THAT(service_.list(false, std::nullopt, 2, 99).grants, IsEmpty());
}

TEST_F(ServiceTest, ListOfAllMergesEndedInOrder) {
  for (int uid = 1; uid <= 6; ++uid) granted("uid:" + std::to_string(uid));
  ASSERT_TRUE(service_.revoke("g-4"));
  ASSERT_TRUE(service_.revoke("g-2"));
  EXPECT_THAT(ids(service_.list(false, std::nullopt, 10, 0).grants), ElementsAre("g-1", "g-3", "g-5", "g-6"));
  std::vector<std::string> seen;
  std::optional<std::uint64_t> cursor = 0;
  while (cursor) {
    const auto page = service_.list(true, std::nullopt, 2, *cursor);
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
  ASSERT_TRUE(service_.revoke("alice"));
  granted("alice");
  EXPECT_THAT(ids(service_.list(false, 1000, 10, 0).grants), ElementsAre("g-4"));
  EXPECT_THAT(ids(service_.list(true, 1000, 10, 0).grants), ElementsAre("g-1", "g-4"));
  EXPECT_THAT(ids(service_.list(true, 0, 10, 0).grants), IsEmpty());  // a cgroup's uid field is not root's
}

TEST_F(ServiceTest, ListKeepsTheLastTenThousandEnded) {
  for (int i = 0; i < 10'001; ++i) {
    ASSERT_TRUE(grant("alice"));
    ASSERT_TRUE(service_.revoke("alice"));
  }
  EXPECT_EQ(code(service_.find("g-1")), ErrorCode::not_found);
  EXPECT_TRUE(service_.find("g-2"));
  EXPECT_EQ(service_.list(true, std::nullopt, 20'000, 0).grants.size(), 10'000U);
}

TEST(State, EveryStateHasAName) {
  EXPECT_EQ(to_string(State::active), "active");
  EXPECT_EQ(to_string(State::expired), "expired");
  EXPECT_EQ(to_string(State::revoked), "revoked");
  EXPECT_EQ(to_string(State::suspended), "suspended");
}

}  // namespace
}  // namespace ds01::grants
