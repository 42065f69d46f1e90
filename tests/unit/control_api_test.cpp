// SPDX-License-Identifier: Apache-2.0
// The API's routes, who may use them, grants and history.
#include "control/api.h"

#include "control_fixture.h"

namespace ds01::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ApiTest, StatusOfAGateThatIsNotAttachedSaysSo) {
  grant("alice");
  const auto status = expect(200, send("GET", "/v1/status"));
  EXPECT_FALSE(status.at("attached").as_bool());
  EXPECT_TRUE(status.at("backend").is_null());
  EXPECT_EQ(status.at("reason").as_string(), "starting");
  EXPECT_EQ(status.at("grants_active").as_int64(), 1);
  EXPECT_EQ(status.at("denials_total").as_int64(), 0);
  EXPECT_EQ(status.at("started_at").as_string(), "2026-03-01T12:00:00Z");
  EXPECT_EQ(status.at("gates").at("gpu").at("mode").as_string(), "monitoring");
  for (const auto* key :
       {"version", "best_effort_hooks", "recursion_misses_total", "would_deny_total", "events_lost_total"})
    EXPECT_TRUE(status.as_object().contains(key)) << key;
  EXPECT_TRUE(status.at("store").at("ok").as_bool());
  EXPECT_TRUE(status.at("store").at("error").is_null());
  EXPECT_EQ(status.at("grants_suspended").as_int64(), 0);
}

TEST_F(ApiTest, StatusCountsRequestsThatWaitForTheCaller) {
  ask();
  be(1001, "bob");
  EXPECT_EQ(expect(200, send("GET", "/v1/status")).at("requests_pending").as_int64(), 0);
  ask();
  EXPECT_EQ(expect(200, send("GET", "/v1/status")).at("requests_pending").as_int64(), 1);
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/status")).at("requests_pending").as_int64(), 2);
}

TEST_F(ApiTest, StatusCountsSuspendedGrants) {
  grant("alice");
  users_.uids = {{"root", 0}, {"eve", 1000}};
  std::uint64_t cursor = 0;
  ASSERT_TRUE(grants_.check_accounts(&cursor, 10));
  const auto status = expect(200, send("GET", "/v1/status"));
  EXPECT_EQ(status.at("grants_active").as_int64(), 0);
  EXPECT_EQ(status.at("grants_suspended").as_int64(), 1);
}

TEST_F(ApiTest, HealthOfAGateThatIsNotAttachedIs503) {
  EXPECT_THAT(refused(503, send("GET", "/healthz")), HasSubstr("not attached"));
}

TEST_F(ApiTest, MetricsAreText) {
  const auto response = send("GET", "/metrics");
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4");
  EXPECT_THAT(response.body, HasSubstr("\nds01_attached 0\n"));
}

TEST_F(ApiTest, ModeIsReadByEverybody) {
  const auto mode = expect(200, send("GET", "/v1/mode"));
  EXPECT_EQ(mode.at("gpu").at("configured_mode").as_string(), "monitoring");
  EXPECT_TRUE(mode.at("gpu").at("until").is_null());
}

// ---- routes

TEST_F(ApiTest, PathUnknownIs404) {
  for (const auto* path : {"/", "/v1", "/v1/", "/v1/nothing", "/v1/statusx", "/v1/status/", "/v2/status", "/v1/grants/",
                           "/metrics/x", "/v1/requests/", "/v1/notices", "/v1/history/alice"})
    EXPECT_THAT(refused(404, send("GET", path)), HasSubstr("no such path")) << path;
}

TEST_F(ApiTest, MethodThatDoesNotFitIs400) {
  be_admin();
  const std::pair<const char*, const char*> table[] = {
      {"POST", "/v1/status"},
      {"DELETE", "/v1/grants"},
      {"PUT", "/v1/grants"},
      {"POST", "/v1/grants/g-1"},
      {"DELETE", "/v1/mode"},
      {"PUT", "/healthz"},
      {"get", "/v1/status"},
      {"OPTIONS", "/v1/whoami"},
      {"POST", "/v1/history"},
      {"GET", "/v1/notices/seen"},
      {"DELETE", "/v1/requests"},
      {"POST", "/v1/requests/r-1"},
      {"DELETE", "/v1/requests/r-1/approve"},
      {"PUT", "/v1/requests/r-1/deny"},
      {"POST", "/v1/grants/extend"},
      {"PUT", "/v1/grants/g-1/extend"},
  };
  for (const auto& [method, path] : table)
    EXPECT_THAT(refused(400, send(method, path)), HasSubstr("does not go with")) << method << path;
}

TEST_F(ApiTest, QueryUnknownOrMalformedIs400) {
  be_admin();
  const std::pair<const char*, const char*> table[] = {
      {"/v1/status", "x=1"},      {"/v1/mode", "mode=full"},       {"/v1/grants", "user=alice"},
      {"/v1/grants", "a=1&a=1"},  {"/v1/grants", "limit=0"},       {"/v1/grants", "limit=10001"},
      {"/v1/grants", "limit=-1"}, {"/v1/grants", "limit="},        {"/v1/grants", "cursor=x"},
      {"/v1/grants", "all=yes"},  {"/v1/denials", "since=x"},      {"/v1/denials", "user=uid:x"},
      {"/v1/whoami", "%zz=1"},    {"/v1/history", "since=x"},      {"/v1/history", "all=true"},
      {"/v1/history", "limit=0"}, {"/v1/history", "cursor=-1"},    {"/v1/history", "user=uid:x"},
      {"/v1/requests", "all=1"},  {"/v1/requests", "limit=10001"}, {"/v1/requests", "user=alice"},
  };
  for (const auto& [path, query] : table) EXPECT_NE(refused(400, send("GET", path, query)), "") << path << "?" << query;
}

// ---- rights

TEST_F(ApiTest, AdminOnlyIsRefusedAndAudited) {
  grant("alice");
  ask();
  changes_ = 0;
  const std::pair<const char*, const char*> table[] = {{"PUT", "/v1/mode"},
                                                       {"POST", "/v1/grants"},
                                                       {"DELETE", "/v1/grants/g-1"},
                                                       {"DELETE", "/v1/grants/alice"},
                                                       {"POST", "/v1/grants/alice/extend"},
                                                       {"POST", "/v1/requests/r-1/approve"},
                                                       {"POST", "/v1/requests/r-1/deny"}};
  trail_.configure([&] {
    auto s = to_file(folder_.path() / "audit.jsonl");
    s.limit = 100;
    return s;
  }());
  for (const auto& [method, path] : table) {
    EXPECT_THAT(refused(403, send(method, path, "", R"({"subject": "alice", "mode": "full"})")), HasSubstr("admin"));
    EXPECT_THAT(audit(),
                HasSubstr(std::string("alice (pid 77) was refused: ") + method + " " + path + " needs an admin"));
  }
  EXPECT_EQ(grants_.active_count(), 1U);
  EXPECT_EQ(requests_.pending_count(), 1U);
  EXPECT_EQ(changes_, 0);
}

TEST_F(ApiTest, WhatEverybodyMayIsNotAudited) {
  for (const auto* path : {"/v1/status", "/v1/mode", "/v1/whoami", "/v1/denials", "/v1/grants", "/v1/requests",
                           "/v1/history", "/v1/holders", "/metrics"})
    EXPECT_EQ(send("GET", path).status, 200U) << path;
  EXPECT_EQ(audit(), "");
}

TEST_F(ApiTest, UserSeesOwnGrantsOnly) {
  grant("alice");
  grant("bob");
  auto list = expect(200, send("GET", "/v1/grants"));
  ASSERT_EQ(list.as_array().size(), 1U);
  EXPECT_EQ(list.as_array()[0].at("id").as_string(), "g-1");
  EXPECT_EQ(expect(200, send("GET", "/v1/grants/g-1")).at("subject").at("name").as_string(), "alice");
  EXPECT_EQ(expect(200, send("GET", "/v1/grants/alice")).at("id").as_string(), "g-1");
  // Nothing tells another's grant from none.
  for (const auto* path : {"/v1/grants/g-2", "/v1/grants/bob", "/v1/grants/g-3", "/v1/grants/mallory"})
    EXPECT_THAT(refused(404, send("GET", path)), HasSubstr("you have no grant")) << path;
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/grants")).as_array().size(), 2U);
  EXPECT_EQ(expect(200, send("GET", "/v1/grants/bob")).at("id").as_string(), "g-2");
}

TEST_F(ApiTest, UserSeesOwnDenialsOnly) {
  EXPECT_THAT(refused(403, send("GET", "/v1/denials", "user=bob")), HasSubstr("admins"));
  EXPECT_THAT(expect(200, send("GET", "/v1/denials", "user=alice")).as_array(), IsEmpty());
  EXPECT_EQ(send("GET", "/v1/denials", "since=2026-03-01T00:00:00Z").status, 200U);
  be_admin();
  EXPECT_EQ(send("GET", "/v1/denials", "user=bob").status, 200U);
  EXPECT_NE(refused(404, send("GET", "/v1/denials", "user=mallory")), "");
}

// ---- history

TEST_F(ApiTest, HistoryShowsWhatEndedTheLatestFirst) {
  grant("alice");
  clock_.advance(10s);
  revoke("alice");
  grant("alice");
  clock_.advance(20s);
  revoke("alice");
  auto history = expect(200, send("GET", "/v1/history")).as_array();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].at("id").as_string(), "g-2");
  EXPECT_EQ(history[0].at("lasted_s").as_int64(), 20);
  EXPECT_EQ(history[0].at("how").as_string(), "revoked");
  EXPECT_EQ(history[0].at("ended_at").as_string(), "2026-03-01T12:00:30Z");
  EXPECT_EQ(history[1].at("id").as_string(), "g-1");
  history = expect(200, send("GET", "/v1/history", "since=2026-03-01T12:00:20Z")).as_array();
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].at("id").as_string(), "g-2");
}

TEST_F(ApiTest, HistoryGoesOnBehindTheCursor) {
  for (int i = 0; i < 3; ++i) {
    grant("alice");
    revoke("alice");
  }
  const auto first = send("GET", "/v1/history", "limit=2");
  EXPECT_EQ(expect(200, first).as_array().size(), 2U);
  ASSERT_NE(first.next_cursor, "");
  const auto second = send("GET", "/v1/history", "limit=2&cursor=" + first.next_cursor);
  EXPECT_EQ(expect(200, second).as_array().size(), 1U);
  EXPECT_EQ(second.next_cursor, "");
}

TEST_F(ApiTest, HistoryOfOthersIsForAdmins) {
  for (const auto* user : {"alice", "bob"}) {
    grant(user);
    revoke(user);
  }
  EXPECT_EQ(expect(200, send("GET", "/v1/history")).as_array().size(), 1U);
  EXPECT_EQ(expect(200, send("GET", "/v1/history", "user=alice")).as_array().size(), 1U);
  EXPECT_THAT(refused(403, send("GET", "/v1/history", "user=bob")), HasSubstr("admins"));
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/history")).as_array().size(), 2U);
  const auto history = expect(200, send("GET", "/v1/history", "user=bob")).as_array();
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].at("subject").at("name").as_string(), "bob");
  EXPECT_NE(refused(404, send("GET", "/v1/history", "user=mallory")), "");
}

// ---- changes

TEST_F(ApiTest, GrantWithoutKernelSideIs503AndGrantsNothing) {
  be_admin();
  EXPECT_THAT(refused(503, send("POST", "/v1/grants", "", R"({"subject": "alice"})")), HasSubstr("not attached"));
  EXPECT_EQ(refused(503, send("POST", "/v1/grants", "", R"({"subject": "alice", "dry_run": true})")).empty(), false);
  EXPECT_NE(refused(400, send("POST", "/v1/grants", "", R"({"subject": 1})")), "");
  EXPECT_EQ(grants_.active_count(), 0U);
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(audit(), "");
}

TEST_F(ApiTest, ModeWithoutKernelSideIs503AndNotAudited) {
  be_admin();
  EXPECT_NE(refused(503, send("PUT", "/v1/mode", "", R"({"mode": "full"})")), "");
  EXPECT_NE(refused(503, send("PUT", "/v1/mode", "", R"({"mode": "default"})")), "");
  EXPECT_NE(refused(400, send("PUT", "/v1/mode", "", R"({"mode": "off"})")), "");
  EXPECT_NE(refused(404, send("PUT", "/v1/mode", "", R"({"gate": "docker", "mode": "full"})")), "");
  EXPECT_EQ(audit(), "");
  EXPECT_EQ(changes_, 0);
}

TEST_F(ApiTest, ExtendMovesTheEndAndIsAudited) {
  grant("alice");  // for 24h
  be_admin();
  auto extended = expect(200, send("POST", "/v1/grants/alice/extend", "", R"({"duration_s": 3600})"));
  EXPECT_EQ(extended.at("id").as_string(), "g-1");
  EXPECT_EQ(extended.at("remaining_s").as_int64(), 25 * 3600);
  extended = expect(200, send("POST", "/v1/grants/g-1/extend", "", R"({"duration_s": 3600})"));
  EXPECT_EQ(extended.at("remaining_s").as_int64(), 26 * 3600);
  EXPECT_EQ(changes_, 2);
  EXPECT_THAT(audit(), HasSubstr("root extended g-1 of alice"));
}

TEST_F(ApiTest, ExtendThatCannotBeIsRefused) {
  grant("alice");
  be_admin();
  EXPECT_NE(refused(404, send("POST", "/v1/grants/bob/extend", "", R"({"duration_s": 60})")), "");
  EXPECT_NE(refused(404, send("POST", "/v1/grants/g-9/extend", "", R"({"duration_s": 60})")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/grants/alice/extend", "", "{}")), "");
  EXPECT_NE(refused(400, send("POST", "/v1/grants/alice/extend", "", R"({"duration_s": 604800})")), "");
  revoke("alice");
  EXPECT_NE(refused(409, send("POST", "/v1/grants/g-1/extend", "", R"({"duration_s": 60})")), "");
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(audit(), "");
}

TEST_F(ApiTest, ExtendOfACgroupNamedExtend) {
  folder_.make("cgroup/a/extend");
  grant("cgroup:/a/extend");
  be_admin();
  EXPECT_EQ(send("GET", "/v1/grants/cgroup:/a/extend").status, 200U);
  EXPECT_EQ(send("POST", "/v1/grants/cgroup:/a/extend/extend", "", R"({"duration_s": 60})").status, 200U);
}

TEST_F(ApiTest, RevokeIsToldToThePersonAndNobodyElse) {
  grant("alice");
  be_admin();
  EXPECT_EQ(send("DELETE", "/v1/grants/alice", "reason=maintenance").status, 200U);
  EXPECT_THAT(notices(1000), ElementsAre(HasSubstr("maintenance")));
  EXPECT_THAT(notices(0), IsEmpty());
  EXPECT_THAT(notices(1001), IsEmpty());
}

// The uid is eve's by now.
TEST_F(ApiTest, RevokeOfASuspendedGrantIsToldToNobody) {
  grant("alice");
  users_.uids = {{"root", 0}, {"eve", 1000}};
  std::uint64_t cursor = 0;
  ASSERT_TRUE(grants_.check_accounts(&cursor, 10));
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/grants/g-1")).at("state").as_string(), "suspended");
  EXPECT_EQ(send("DELETE", "/v1/grants/g-1").status, 200U);
  EXPECT_THAT(audit(), HasSubstr("root revoked g-1 of alice"));
  EXPECT_THAT(notices(1000), IsEmpty());
}

TEST_F(ApiTest, RevokeIsAuditedWithWhoAndWhy) {
  grant("alice");
  be_admin();
  const auto revoked = expect(200, send("DELETE", "/v1/grants/alice", "reason=end%20of%20term"));
  EXPECT_EQ(revoked.at("state").as_string(), "revoked");
  EXPECT_THAT(kernel_.map, IsEmpty());
  EXPECT_EQ(changes_, 1);
  EXPECT_THAT(audit(), HasSubstr("root revoked g-1 of alice: end of term"));
  EXPECT_NE(refused(404, send("DELETE", "/v1/grants/alice")), "");
  EXPECT_NE(refused(409, send("DELETE", "/v1/grants/g-1")), "");
  EXPECT_NE(refused(400, send("DELETE", "/v1/grants/g-1", "reason=" + std::string(501, 'x'))), "");
}

TEST_F(ApiTest, RevokeFailingInTheKernelIsNotAudited) {
  grant("alice");
  be_admin();
  kernel_.broken = true;
  EXPECT_NE(refused(500, send("DELETE", "/v1/grants/alice")), "");
  EXPECT_EQ(audit(), "");
  EXPECT_EQ(grants_.active_count(), 1U);
}

TEST_F(ApiTest, CgroupPathIsOneSubject) {
  folder_.make("cgroup/a/b");
  grant("cgroup:/a/b");
  be_admin();
  EXPECT_EQ(expect(200, send("GET", "/v1/grants/cgroup:/a/b")).at("id").as_string(), "g-1");
  EXPECT_EQ(send("DELETE", "/v1/grants/cgroup:/a/b").status, 200U);
}

TEST_F(ApiTest, ListGoesOnBehindTheCursor) {
  be_admin();
  for (int uid = 1; uid <= 3; ++uid) grant("uid:" + std::to_string(uid));
  const auto first = send("GET", "/v1/grants", "limit=2");
  EXPECT_EQ(expect(200, first).as_array().size(), 2U);
  EXPECT_EQ(first.next_cursor, "2");
  const auto second = send("GET", "/v1/grants", "limit=2&cursor=2");
  EXPECT_EQ(expect(200, second).as_array().size(), 1U);
  EXPECT_EQ(second.next_cursor, "");
  revoke("g-1");
  EXPECT_EQ(expect(200, send("GET", "/v1/grants", "all=true")).as_array().size(), 3U);
  EXPECT_EQ(expect(200, send("GET", "/v1/grants", "all=false")).as_array().size(), 2U);
}

// ---- the store

class BrokenStoreTest : public ApiTest {
 protected:
  database::Database broken_{
      [this] { return folder_.write("broken/ds01.db", "this is no database, however long one looks at it"); }()};
  grants::Store store_of_broken_{broken_, clock_};
  grants::Service grants_of_broken_{{kernel_, store_of_broken_, clock_, users_, cgroups_,
                                     [] { return std::vector<devices::Gpu>{}; }, [] { return devices::CapNames{}; }},
                                    {},
                                    {}};
  grants::Requests requests_of_broken_{{grants_of_broken_, store_of_broken_, clock_, users_}, {}};
  notify::Notifier notifier_of_broken_{
      {broken_, clock_, folder_.path(), folder_.path(), [](uid_t) { return std::vector<std::string>{}; }}};
  Api broken_api_{{enforcer_, grants_of_broken_, requests_of_broken_, trail_, notifier_of_broken_, announcer_, broken_,
                   clock_, users_, cgroups_, source_, folder_.path() / "proc", clock_.wall(),
                   [](const grants::Grant&) {}, [this] { ++changes_; }}};
  http::Response send_broken(const std::string& method, const std::string& path, const std::string& body = "") {
    return broken_api_.handle(caller_, {method, path, "", body});
  }
};

TEST_F(BrokenStoreTest, StatusAndWhoamiGoOn) {
  const auto store = expect(200, send_broken("GET", "/v1/status")).at("store");
  EXPECT_FALSE(store.at("ok").as_bool());
  EXPECT_THAT(std::string(store.at("error").as_string()), HasSubstr("ds01.db"));
  EXPECT_THAT(expect(200, send_broken("GET", "/v1/whoami")).at("notices").as_array(), IsEmpty());
  EXPECT_THAT(send_broken("GET", "/metrics").body, HasSubstr("\nds01_store_ok 0\n"));
}

TEST_F(BrokenStoreTest, WhatNeedsTheStoreIs500AndSaysWhy) {
  EXPECT_THAT(refused(500, send_broken("POST", "/v1/requests", R"({"reason": "x"})")), HasSubstr("ds01.db"));
  EXPECT_THAT(refused(500, send_broken("GET", "/v1/history")), HasSubstr("ds01.db"));
  EXPECT_THAT(refused(500, send_broken("GET", "/v1/grants/g-1")), HasSubstr("ds01.db"));
  EXPECT_THAT(refused(500, send_broken("GET", "/v1/requests/r-1")), HasSubstr("ds01.db"));
  be_admin();
  EXPECT_THAT(refused(500, send_broken("DELETE", "/v1/grants/alice")), HasSubstr("ds01.db"));
  EXPECT_THAT(refused(500, send_broken("POST", "/v1/grants/alice/extend", R"({"duration_s": 60})")),
              HasSubstr("ds01.db"));
  EXPECT_THAT(refused(500, send_broken("POST", "/v1/requests/r-1/approve")), HasSubstr("ds01.db"));
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(audit(), "");
}

}  // namespace
}  // namespace ds01::control
