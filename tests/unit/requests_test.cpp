// SPDX-License-Identifier: Apache-2.0
// Self-service: asked, answered, lapsed.
#include "grants_fixture.h"

namespace ds01::grants {
namespace {

using fake::code;
using fake::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RequestsTest : public ServiceTest {
 protected:
  const Actor alice_{1000, "alice", 1000};
  const Actor bob_{1001, "bob", std::nullopt};

  Result<Request> ask(const Actor& who, std::optional<std::chrono::seconds> duration = 2h, std::string gpus = "all") {
    return requests().ask({duration, std::move(gpus), "thesis"}, who);
  }
  static std::vector<std::string> ids(const Result<Requests::Page>& page) {
    std::vector<std::string> ids;
    if (page)
      for (const auto& request : page->requests) ids.push_back(request.id());
    return ids;
  }
  void approve_staff(std::chrono::seconds up_to) {
    settings_.auto_approve = {{"staff", up_to}};
    configure();
  }
};

TEST_F(RequestsTest, AskedIsPendingAndSurvivesARestart) {
  const auto asked = ask(alice_, 2h, "0");
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->id(), "r-1");
  EXPECT_EQ(asked->state, RequestState::pending);
  EXPECT_EQ(asked->lapses, End(clock_.boot() + 24h));
  EXPECT_TRUE(kernel_.map.empty());
  restart();
  EXPECT_EQ(requests().pending_count(), 1U);
  EXPECT_EQ(requests().pending_count(1000), 1U);
  EXPECT_EQ(requests().pending_count(1001), 0U);
  const auto found = requests().find("r-1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->who.uid, 1000U);
  EXPECT_EQ(found->who.name, "alice");
  EXPECT_EQ(found->who.login_uid, 1000U);
  EXPECT_EQ(found->duration, 2h);
  EXPECT_EQ(found->gpus, "0");
  EXPECT_EQ(found->reason, "thesis");
  EXPECT_EQ(found->created, asked->created);
  EXPECT_EQ(found->lapses, asked->lapses);
}

TEST_F(RequestsTest, DurationNotGivenIsTheDefault) {
  settings_.maximum_by_group = {{"staff", 3h}};
  configure();
  EXPECT_EQ(ask(alice_, std::nullopt)->duration, 3h);
  EXPECT_EQ(ask({1002, "carol", {}}, std::nullopt)->duration, 24h);
}

TEST_F(RequestsTest, AskedIsCheckedLikeAGrant) {
  EXPECT_THAT(message(requests().ask({1h, "all", ""}, alice_)), HasSubstr("--reason"));
  EXPECT_THAT(message(requests().ask({1h, "all", "a\nb"}, alice_)), HasSubstr("control characters"));
  EXPECT_THAT(message(ask(alice_, 8 * 24h)), HasSubstr("maximum of 7d"));
  EXPECT_EQ(code(ask(alice_, 0s)), ErrorCode::invalid);
  EXPECT_THAT(message(ask(alice_, 1h, "9")), HasSubstr("no GPU 9"));
  EXPECT_THAT(message(ask({4242, "uid:4242", {}})), HasSubstr("uid 4242 has no account"));
  EXPECT_THAT(message(ask({0, "root", {}})), HasSubstr("root needs no grant"));
  EXPECT_EQ(requests().pending_count(), 0U);
  EXPECT_THAT(ids(requests().list(true, std::nullopt, 10, 0)), IsEmpty());
}

TEST_F(RequestsTest, PendingOnesAreLimitedPerUser) {
  settings_.max_pending_per_user = 2;
  configure();
  ASSERT_TRUE(ask(alice_));
  ASSERT_TRUE(ask(alice_));
  EXPECT_EQ(code(ask(alice_)), ErrorCode::limited);
  EXPECT_THAT(message(ask(alice_)), HasSubstr("grants.max_pending_per_user"));
  EXPECT_TRUE(ask(bob_));
  ASSERT_TRUE(requests().deny("r-1", "no", actor_));
  EXPECT_TRUE(ask(alice_));
  settings_.max_pending_per_user = 0;
  configure();
  EXPECT_EQ(code(ask({1002, "carol", {}})), ErrorCode::limited);
  EXPECT_THAT(message(ask({1002, "carol", {}})), HasSubstr("grants.max_pending_per_user is 0"));
}

TEST_F(RequestsTest, AskingForLessThanOneHasIsAConflict) {
  granted("alice", 3h);
  EXPECT_EQ(code(ask(alice_, 2h)), ErrorCode::conflict);
  EXPECT_THAT(message(ask(alice_, 2h)), HasSubstr("you already have g-1 until 2026-03-01T15:00:00Z"));
  EXPECT_TRUE(ask(alice_, 4h));
  granted("bob", Permanent{});
  EXPECT_THAT(message(ask(bob_, 2h)), HasSubstr("you already have g-2 without an end"));
}

// ---- approve

TEST_F(RequestsTest, ApprovedIsInForceAndBothAreStored) {
  ASSERT_TRUE(ask(alice_, 2h, "1"));
  clock_.advance(1h);
  const auto approved = requests().approve("r-1", std::nullopt, actor_);
  ASSERT_TRUE(approved);
  EXPECT_EQ(approved->grant.subject.display(), "alice");
  EXPECT_EQ(approved->grant.end, End(clock_.boot() + 2h));
  EXPECT_EQ(approved->grant.scope(), "GPU 1");
  EXPECT_EQ(approved->grant.reason, "thesis");
  EXPECT_EQ(approved->grant.granted_by.name, "root");
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(requests().next_lapse(), std::nullopt);
  restart();
  EXPECT_EQ(requests().pending_count(), 0U);
  const auto request = requests().find("r-1");
  EXPECT_EQ(request->state, RequestState::approved);
  EXPECT_EQ(request->grant, 1U);
  EXPECT_EQ(request->decided, clock_.wall());
  EXPECT_EQ(request->decided_by->name, "root");
  EXPECT_THAT(message(requests().approve("r-1", std::nullopt, actor_)), HasSubstr("r-1 is already approved"));
  EXPECT_EQ(code(requests().deny("r-1", "no", actor_)), ErrorCode::conflict);
}

TEST_F(RequestsTest, ApprovedForAnotherDuration) {
  ASSERT_TRUE(ask(alice_, 2h));
  EXPECT_THAT(message(requests().approve("r-1", 8 * 24h, actor_)), HasSubstr("maximum of 7d"));
  EXPECT_EQ(requests().approve("r-1", 30min, actor_)->grant.end, End(clock_.boot() + 30min));
}

TEST_F(RequestsTest, ApprovalThatFailsLeavesItPending) {
  ASSERT_TRUE(ask(alice_));
  kernel_.broken = true;
  EXPECT_EQ(code(requests().approve("r-1", std::nullopt, actor_)), ErrorCode::system);
  kernel_.broken = false;
  break_store();
  EXPECT_EQ(code(requests().approve("r-1", std::nullopt, actor_)), ErrorCode::system);
  mend_store();
  EXPECT_TRUE(kernel_.map.empty());
  restart();
  EXPECT_EQ(requests().find("r-1")->state, RequestState::pending);
  EXPECT_THAT(stored(), IsEmpty());
  EXPECT_TRUE(requests().approve("r-1", std::nullopt, actor_));
}

TEST_F(RequestsTest, ApprovalIsForWhoAskedOnly) {
  ASSERT_TRUE(ask(alice_));
  users_.uids.erase("alice");
  EXPECT_THAT(message(requests().approve("r-1", std::nullopt, actor_)), HasSubstr("without an account"));
  users_.uids["eve"] = 1000;
  const auto result = requests().approve("r-1", std::nullopt, actor_);
  EXPECT_EQ(code(result), ErrorCode::conflict);
  EXPECT_THAT(message(result), HasSubstr("uid 1000 is eve now, and alice asked: deny r-1"));
  users_.broken = true;
  EXPECT_EQ(code(requests().approve("r-1", std::nullopt, actor_)), ErrorCode::system);
  EXPECT_TRUE(kernel_.map.empty());
  EXPECT_TRUE(requests().deny("r-1", "left", actor_));
}

TEST_F(RequestsTest, AnswerToNoRequestIsNotFound) {
  for (const auto* id : {"r-1", "r-", "r-x", "g-1", "1", "", "r-18446744073709551615", "r-99999999999999999999"})
    EXPECT_EQ(code(requests().approve(id, std::nullopt, actor_)), ErrorCode::not_found) << id;
}

// ---- approved by a rule

TEST_F(RequestsTest, RuleApprovesItsGroupUpToItsLimit) {
  approve_staff(1h);
  const auto asked = ask(alice_, 1h);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->state, RequestState::approved);
  EXPECT_EQ(asked->grant, 1U);
  EXPECT_EQ(asked->decided_by, std::nullopt);
  EXPECT_EQ(service().find("alice")->granted_by.name, "auto-approval (staff)");
  EXPECT_NE(in_kernel(1000), nullptr);
  EXPECT_EQ(requests().pending_count(), 0U);
  EXPECT_EQ(ask(bob_, 1h + 1s)->state, RequestState::pending);
  EXPECT_EQ(ask({1002, "carol", {}}, 1h)->state, RequestState::pending);
  restart();
  EXPECT_EQ(requests().find("r-1")->state, RequestState::approved);
  EXPECT_EQ(requests().find("r-1")->grant, 1U);
}

TEST_F(RequestsTest, RuleReplacesNoGrant) {
  approve_staff(1h);
  granted("alice", 10min, "0");
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::pending);
  EXPECT_EQ(service().find("alice")->gpus->size(), 1U);
}

// Short ones one after the other would be one without an end.
TEST_F(RequestsTest, RuleWaitsAsLongAsItsLastGrantLasted) {
  approve_staff(1h);
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::approved);
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::pending);
  clock_.advance(1h);
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::approved);
}

TEST_F(RequestsTest, RuleDoesNotWaitForAnAdminsGrant) {
  approve_staff(1h);
  granted("alice", 1h);
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::approved);
}

TEST_F(RequestsTest, RuleApprovesNothingWhileTheNameServiceFails) {
  approve_staff(1h);
  users_.groups_broken = true;
  EXPECT_EQ(ask(alice_, 1h)->state, RequestState::pending);
  EXPECT_TRUE(kernel_.map.empty());
}

TEST_F(RequestsTest, RuleThatCannotBePutInForceLeavesNothing) {
  approve_staff(1h);
  kernel_.broken = true;
  EXPECT_EQ(code(ask(alice_, 1h)), ErrorCode::system);
  EXPECT_THAT(stored(), IsEmpty());
  EXPECT_THAT(ids(requests().list(true, std::nullopt, 10, 0)), IsEmpty());
}

// ---- deny and lapse

TEST_F(RequestsTest, DeniedSaysWhy) {
  ASSERT_TRUE(ask(alice_));
  EXPECT_THAT(message(requests().deny("r-1", "", actor_)), HasSubstr("--reason"));
  EXPECT_THAT(message(requests().deny("r-1", std::string(501, 'x'), actor_)), HasSubstr("500 bytes"));
  const auto denied = requests().deny("r-1", "use the batch queue", actor_);
  ASSERT_TRUE(denied);
  EXPECT_EQ(denied->state, RequestState::denied);
  restart();
  EXPECT_EQ(requests().find("r-1")->answer, "use the batch queue");
  EXPECT_EQ(requests().find("r-1")->decided_by->login_uid, 1002U);
  EXPECT_THAT(message(requests().deny("r-1", "no", actor_)), HasSubstr("already denied"));
}

TEST_F(RequestsTest, DenialThatCannotBeStoredChangesNothing) {
  ASSERT_TRUE(ask(alice_));
  break_store();
  EXPECT_EQ(code(requests().deny("r-1", "no", actor_)), ErrorCode::system);
  EXPECT_EQ(requests().pending_count(), 1U);
}

TEST_F(RequestsTest, LapsesWhenNobodyAnswers) {
  ASSERT_TRUE(ask(alice_));
  clock_.advance(1h);
  ASSERT_TRUE(ask(bob_));
  EXPECT_EQ(requests().next_lapse(), clock_.boot() + 23h);
  clock_.advance(23h - 1ns);
  EXPECT_THAT(*requests().lapse(10), IsEmpty());
  clock_.advance(1ns);
  EXPECT_THAT(message(requests().approve("r-1", std::nullopt, actor_)), HasSubstr("r-1 has lapsed"));
  const auto lapsed = requests().lapse(10);
  ASSERT_EQ(lapsed->size(), 1U);
  EXPECT_EQ(lapsed->at(0).id(), "r-1");
  EXPECT_EQ(lapsed->at(0).state, RequestState::lapsed);
  EXPECT_EQ(lapsed->at(0).decided_by, std::nullopt);
  restart();
  EXPECT_EQ(requests().find("r-1")->state, RequestState::lapsed);
  EXPECT_EQ(requests().pending_count(), 1U);
}

TEST_F(RequestsTest, ClockStepsDoNotLapse) {
  ASSERT_TRUE(ask(alice_));
  clock_.step_wall(25h);
  EXPECT_THAT(*requests().lapse(10), IsEmpty());
  ASSERT_TRUE(service().clock_changed());
  reboot(1h);
  EXPECT_THAT(*requests().lapse(10), IsEmpty());
}

TEST_F(RequestsTest, LapsesAcrossAReboot) {
  ASSERT_TRUE(ask(alice_));
  reboot(25h);
  EXPECT_EQ(requests().lapse(10)->size(), 1U);
}

TEST_F(RequestsTest, LapsesInBatches) {
  for (const auto& who : {alice_, bob_, alice_}) ASSERT_TRUE(ask(who));
  clock_.advance(24h);
  EXPECT_EQ(requests().lapse(2)->size(), 2U);
  EXPECT_EQ(requests().lapse(2)->size(), 1U);
}

// ---- list

TEST_F(RequestsTest, ListShowsPendingOrAllByPages) {
  for (const auto& who : {alice_, bob_, alice_, bob_}) ASSERT_TRUE(ask(who));
  ASSERT_TRUE(requests().deny("r-2", "no", actor_));
  EXPECT_THAT(ids(requests().list(false, std::nullopt, 10, 0)), ElementsAre("r-1", "r-3", "r-4"));
  EXPECT_THAT(ids(requests().list(false, 1001, 10, 0)), ElementsAre("r-4"));
  EXPECT_THAT(ids(requests().list(true, 1001, 10, 0)), ElementsAre("r-2", "r-4"));
  const auto page = requests().list(true, std::nullopt, 3, 0);
  EXPECT_THAT(ids(page), ElementsAre("r-1", "r-2", "r-3"));
  ASSERT_EQ(page->next, 3U);
  EXPECT_THAT(ids(requests().list(true, std::nullopt, 3, 3)), ElementsAre("r-4"));
  EXPECT_EQ(requests().list(false, std::nullopt, 3, 0)->next, std::nullopt);
  EXPECT_EQ(requests().list(false, std::nullopt, 2, 0)->next, 3U);
}

TEST_F(RequestsTest, OldAnswersAreForgotten) {
  ASSERT_TRUE(ask(alice_));
  ASSERT_TRUE(requests().deny("r-1", "no", actor_));
  clock_.advance(24h * 401);
  ASSERT_TRUE(agent_->store.forget_old());
  EXPECT_EQ(code(requests().find("r-1")), ErrorCode::not_found);
}

TEST(RequestState, EveryStateHasAName) {
  EXPECT_EQ(to_string(RequestState::pending), "pending");
  EXPECT_EQ(to_string(RequestState::approved), "approved");
  EXPECT_EQ(to_string(RequestState::denied), "denied");
  EXPECT_EQ(to_string(RequestState::lapsed), "lapsed");
}

}  // namespace
}  // namespace ds01::grants
