// SPDX-License-Identifier: Apache-2.0
// The API's routes about requests.
#include "control_fixture.h"

namespace ds01::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using RequestsApiTest = ApiTest;

// ---- asking

TEST_F(RequestsApiTest, AskedWaitsForAnAdmin) {
  const auto asked = expect(201, send("POST", "/v1/requests", "", R"({"duration_s": 3600, "reason": "thesis"})"));
  EXPECT_EQ(asked.at("id").as_string(), "r-1");
  EXPECT_EQ(asked.at("user").at("name").as_string(), "alice");
  EXPECT_EQ(asked.at("duration_s").as_int64(), 3600);
  EXPECT_EQ(asked.at("gpus").as_string(), "all");
  EXPECT_EQ(asked.at("state").as_string(), "pending");
  EXPECT_EQ(asked.at("lapses_at").as_string(), "2026-03-02T12:00:00Z");
  EXPECT_TRUE(asked.at("grant").is_null());
  EXPECT_EQ(changes_, 1);
  EXPECT_THAT(audit(), HasSubstr("r-1"));
  EXPECT_THAT(kernel_.map, IsEmpty());
  EXPECT_THAT(notices(1000), IsEmpty());
}

TEST_F(RequestsApiTest, AskedInAContainerIsRefusedAndAudited) {
  caller_.on_host = false;
  EXPECT_EQ(refused(403, send("POST", "/v1/requests", "", R"({"reason": "x"})")),
            "requests are made on the host, not in a container");
  EXPECT_THAT(audit(), HasSubstr("alice (pid 77) was refused: POST /v1/requests from a container"));
  EXPECT_EQ(requests_.pending_count(), 0U);
  EXPECT_EQ(changes_, 0);
}

TEST_F(RequestsApiTest, RootNeedsNone) {
  be_admin();
  EXPECT_THAT(refused(400, send("POST", "/v1/requests", "", R"({"reason": "x"})")), HasSubstr("root needs no grant"));
}

TEST_F(RequestsApiTest, AskedWrongIsRefusedAndNotAudited) {
  for (const auto* body :
       {"", "{}", R"({"reason": ""})", R"({"reason": "x", "duration_s": 0})", R"({"reason": "x", "gpus": "first"})",
        R"({"reason": "x", "uid": 1001})", R"({"reason": "x", "duration_s": 604801})"})
    EXPECT_NE(refused(400, send("POST", "/v1/requests", "", body)), "") << body;
  EXPECT_EQ(audit(), "");
  EXPECT_EQ(changes_, 0);
}

TEST_F(RequestsApiTest, AskedTooOftenIs429) {
  for (int i = 0; i < 3; ++i) ask();
  EXPECT_NE(refused(429, send("POST", "/v1/requests", "", R"({"reason": "x"})")), "");
}

TEST_F(RequestsApiTest, AskedWithinARuleIsGrantedAtOnce) {
  config::Grants settings;
  settings.auto_approve = {{"staff", 1h}};
  requests_.configure(settings);
  const auto asked = expect(201, send("POST", "/v1/requests", "", R"({"duration_s": 3600, "reason": "x"})"));
  EXPECT_EQ(asked.at("state").as_string(), "approved");
  EXPECT_EQ(asked.at("grant_id").as_string(), "g-1");
  EXPECT_EQ(asked.at("grant").at("id").as_string(), "g-1");
  EXPECT_TRUE(asked.at("decided_by").is_null());
  EXPECT_EQ(kernel_.map.size(), 1U);
  EXPECT_EQ(changes_, 1);
  EXPECT_THAT(audit(), HasSubstr("granted alice"));
  EXPECT_THAT(notices(1000), IsEmpty());  // the answer says it
}

// ---- looking

TEST_F(RequestsApiTest, UserSeesOwnOnly) {
  ask();
  be(1001, "bob");
  ask();
  const auto list = expect(200, send("GET", "/v1/requests")).as_array();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].at("id").as_string(), "r-2");
  EXPECT_EQ(expect(200, send("GET", "/v1/requests/r-2")).at("user").at("name").as_string(), "bob");
  // Nothing tells another's request from none.
  for (const auto* path : {"/v1/requests/r-1", "/v1/requests/r-9", "/v1/requests/x", "/v1/requests/r-2/x"})
    EXPECT_THAT(refused(404, send("GET", path)), HasSubstr("you have no request")) << path;
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/requests")).as_array().size(), 2U);
  EXPECT_EQ(expect(200, send("GET", "/v1/requests/r-1")).at("user").at("uid").as_int64(), 1000);
  EXPECT_THAT(refused(404, send("GET", "/v1/requests/r-9")), HasSubstr("r-9"));
}

TEST_F(RequestsApiTest, AnsweredOnesAreShownWithAll) {
  const auto id = ask();
  be_admin();
  EXPECT_EQ(send("POST", "/v1/requests/" + id + "/deny", "", R"({"reason": "no"})").status, 200U);
  EXPECT_THAT(expect(200, send("GET", "/v1/requests")).as_array(), IsEmpty());
  const auto all = expect(200, send("GET", "/v1/requests", "all=true")).as_array();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].at("state").as_string(), "denied");
}

TEST_F(RequestsApiTest, ListGoesOnBehindTheCursor) {
  for (int i = 0; i < 3; ++i) ask();
  const auto first = send("GET", "/v1/requests", "limit=2");
  EXPECT_EQ(expect(200, first).as_array().size(), 2U);
  ASSERT_NE(first.next_cursor, "");
  const auto second = send("GET", "/v1/requests", "limit=2&cursor=" + first.next_cursor);
  EXPECT_EQ(expect(200, second).as_array().size(), 1U);
  EXPECT_EQ(second.next_cursor, "");
}

// ---- answering

TEST_F(RequestsApiTest, ApprovedIsGrantedToldAndAudited) {
  ask();
  be_admin();
  changes_ = 0;
  const auto approved = expect(200, send("POST", "/v1/requests/r-1/approve"));
  EXPECT_EQ(approved.at("state").as_string(), "approved");
  EXPECT_EQ(approved.at("grant_id").as_string(), "g-1");
  EXPECT_EQ(approved.at("decided_by").at("login_uid").as_int64(), 1002);
  EXPECT_EQ(approved.at("grant").at("subject").at("name").as_string(), "alice");
  EXPECT_EQ(approved.at("grant").at("remaining_s").as_int64(), 24 * 3600);
  EXPECT_EQ(kernel_.map.size(), 1U);
  EXPECT_EQ(changes_, 1);
  EXPECT_THAT(audit(), HasSubstr("root granted alice"));
  EXPECT_THAT(audit(), HasSubstr("approved"));
  EXPECT_THAT(notices(1000), ElementsAre(HasSubstr("r-1 was approved")));
  EXPECT_NE(refused(409, send("POST", "/v1/requests/r-1/approve")), "");
  EXPECT_NE(refused(409, send("POST", "/v1/requests/r-1/deny", "", R"({"reason": "x"})")), "");
}

TEST_F(RequestsApiTest, ApprovedForAnotherTime) {
  ask();
  be_admin();
  const auto approved = expect(200, send("POST", "/v1/requests/r-1/approve", "", R"({"duration_s": 60})"));
  EXPECT_EQ(approved.at("grant").at("remaining_s").as_int64(), 60);
  EXPECT_EQ(approved.at("duration_s").as_int64(), 24 * 3600);
}

TEST_F(RequestsApiTest, DeniedIsToldWithTheReasonAndAudited) {
  ask();
  be_admin();
  changes_ = 0;
  const auto denied = expect(200, send("POST", "/v1/requests/r-1/deny", "", R"({"reason": "not this week"})"));
  EXPECT_EQ(denied.at("state").as_string(), "denied");
  EXPECT_EQ(denied.at("answer").as_string(), "not this week");
  EXPECT_TRUE(denied.at("lapses_at").is_null());
  EXPECT_TRUE(denied.at("grant_id").is_null());
  EXPECT_EQ(changes_, 1);
  EXPECT_THAT(audit(), HasSubstr("not this week"));
  EXPECT_THAT(notices(1000), ElementsAre(HasSubstr("not this week")));
  EXPECT_THAT(kernel_.map, IsEmpty());
}

// Whoever has the uid now did not ask.
TEST_F(RequestsApiTest, DeniedIsNotToldToAnotherAccount) {
  ask();
  users_.uids = {{"root", 0}, {"eve", 1000}};
  be_admin();
  EXPECT_NE(refused(409, send("POST", "/v1/requests/r-1/approve")), "");
  EXPECT_EQ(send("POST", "/v1/requests/r-1/deny", "", R"({"reason": "account changed"})").status, 200U);
  EXPECT_THAT(notices(1000), IsEmpty());
}

TEST_F(RequestsApiTest, AnswersWrongAreRefusedAndChangeNothing) {
  ask();
  be_admin();
  changes_ = 0;
  const auto before = audit();
  EXPECT_NE(refused(404, send("POST", "/v1/requests/r-9/approve")), "");
  EXPECT_NE(refused(404, send("POST", "/v1/requests/alice/approve")), "");
  EXPECT_NE(refused(404, send("POST", "/v1/requests/r-9/deny", "", R"({"reason": "x"})")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/requests/r-1/approve", "", R"({"duration_s": "1h"})")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/requests/r-1/approve", "", R"({"duration_s": 604801})")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/requests/r-1/deny")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/requests/r-1/deny", "", R"({"reason": ""})")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/requests/r-1/deny", "", "{\"reason\": \"" + std::string(501, 'x') + "\"}")),
            "");
  EXPECT_EQ(requests_.pending_count(), 1U);
  EXPECT_EQ(audit(), before);
  EXPECT_EQ(changes_, 0);
}

TEST_F(RequestsApiTest, ApprovedWithTheKernelBrokenLeavesItPending) {
  ask();
  be_admin();
  const auto before = audit();
  kernel_.broken = true;
  EXPECT_NE(refused(500, send("POST", "/v1/requests/r-1/approve")), "");
  EXPECT_EQ(requests_.pending_count(), 1U);
  EXPECT_EQ(audit(), before);
  EXPECT_THAT(notices(1000), IsEmpty());
}

// The grant of the account that had the uid before ends with the new one's: that is in the log as well.
TEST_F(RequestsApiTest, GrantOfAnEarlierAccountIsAuditedAsRevoked) {
  grant("alice");
  users_.uids = {{"root", 0}, {"eve", 1000}};
  std::uint64_t cursor = 0;
  ASSERT_TRUE(grants_.check_accounts(&cursor, 10));
  be(1000, "eve");
  ask();
  be_admin();
  const auto approved = expect(200, send("POST", "/v1/requests/r-1/approve"));
  EXPECT_EQ(approved.at("grant").at("id").as_string(), "g-2");
  EXPECT_THAT(audit(), HasSubstr("revoked g-1 of alice"));
  EXPECT_THAT(audit(), HasSubstr("granted eve"));
  EXPECT_THAT(audit(), Not(HasSubstr("granted alice")));
}

}  // namespace
}  // namespace ds01::control
