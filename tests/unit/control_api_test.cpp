// SPDX-License-Identifier: Apache-2.0
// The API, called directly. The kernel side is not there, which the API must say; grants go to a fake one.
#include "control/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>

#include "fakes.h"

namespace ds01::control {
namespace {

using boost::json::value;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

config::Audit to_file(const std::filesystem::path& file) {
  config::Audit settings;
  settings.journald = false;
  settings.json = file;
  return settings;
}

class ApiTest : public ::testing::Test {
 protected:
  http::Response send(const std::string& method, const std::string& path, const std::string& query = "",
                      const std::string& body = "") {
    return api_.handle(caller_, {method, path, query, body});
  }
  // The body of an answer with this status.
  value expect(unsigned status, const http::Response& response) {
    EXPECT_EQ(response.status, status) << response.body;
    boost::system::error_code error;
    auto body = boost::json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return body;
  }
  std::string refused(unsigned status, const http::Response& response) {
    const auto body = expect(status, response);
    return body.is_object() && body.as_object().contains("error")
               ? std::string(body.at("error").at("message").as_string())
               : "";
  }
  std::string audit() const { return folder_.read("audit.jsonl"); }
  void grant(const std::string& subject) {
    grants::GrantRequest request;
    request.subject = subject;
    ASSERT_TRUE(grants_.grant(request, {0, "root", std::nullopt}));
  }
  void be_admin() { caller_ = {{0, "root", 1002}, 5, true, true, "/"}; }

  fake::Folder folder_;
  fake::Clock clock_;
  fake::Users users_;
  fake::KernelMap kernel_;
  identity::Cgroups cgroups_{folder_.make("cgroup")};
  enforcer::Enforcer enforcer_{{clock_, users_, cgroups_, {folder_.path(), folder_.path(), folder_.path()}}, {}};
  grants::Service grants_{{kernel_, clock_, users_, cgroups_, [] { return std::vector<devices::Gpu>{}; }}, {}};
  audit::Trail trail_{{clock_, users_, cgroups_, "/proc", [](const Error& error) { ADD_FAILURE() << error.message; }},
                      to_file(folder_.path() / "audit.jsonl")};
  int changes_ = 0;
  Api api_{{enforcer_, grants_, trail_, clock_, users_, clock_.wall(), [this] { ++changes_; }}};
  authz::Caller caller_{{1000, "alice", 1000}, 77, false, true, "/user.slice"};
};

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
  for (const auto* path :
       {"/", "/v1", "/v1/", "/v1/nothing", "/v1/statusx", "/v1/status/", "/v2/status", "/v1/grants/", "/metrics/x"})
    EXPECT_THAT(refused(404, send("GET", path)), HasSubstr("no such path")) << path;
}

TEST_F(ApiTest, MethodThatDoesNotFitIs400) {
  be_admin();
  const std::pair<const char*, const char*> table[] = {
      {"POST", "/v1/status"}, {"DELETE", "/v1/grants"}, {"PUT", "/v1/grants"}, {"POST", "/v1/grants/g-1"},
      {"DELETE", "/v1/mode"}, {"PUT", "/healthz"},      {"get", "/v1/status"}, {"OPTIONS", "/v1/whoami"},
  };
  for (const auto& [method, path] : table)
    EXPECT_THAT(refused(400, send(method, path)), HasSubstr("does not go with")) << method << path;
}

TEST_F(ApiTest, QueryUnknownOrMalformedIs400) {
  be_admin();
  const std::pair<const char*, const char*> table[] = {
      {"/v1/status", "x=1"},      {"/v1/mode", "mode=full"},  {"/v1/grants", "user=alice"},
      {"/v1/grants", "a=1&a=1"},  {"/v1/grants", "limit=0"},  {"/v1/grants", "limit=10001"},
      {"/v1/grants", "limit=-1"}, {"/v1/grants", "limit="},   {"/v1/grants", "cursor=x"},
      {"/v1/grants", "all=yes"},  {"/v1/denials", "since=x"}, {"/v1/denials", "user=uid:x"},
      {"/v1/whoami", "%zz=1"},
  };
  for (const auto& [path, query] : table) EXPECT_NE(refused(400, send("GET", path, query)), "") << path << "?" << query;
}

// ---- rights

TEST_F(ApiTest, AdminOnlyIsRefusedAndAudited) {
  grant("alice");
  const std::pair<const char*, const char*> table[] = {
      {"PUT", "/v1/mode"}, {"POST", "/v1/grants"}, {"DELETE", "/v1/grants/g-1"}, {"DELETE", "/v1/grants/alice"}};
  for (const auto& [method, path] : table) {
    EXPECT_THAT(refused(403, send(method, path, "", R"({"subject": "alice", "mode": "full"})")), HasSubstr("admin"));
    EXPECT_THAT(audit(),
                HasSubstr(std::string("alice (pid 77) was refused: ") + method + " " + path + " needs an admin"));
  }
  EXPECT_EQ(grants_.active_count(), 1U);
  EXPECT_EQ(changes_, 0);
}

TEST_F(ApiTest, WhatEverybodyMayIsNotAudited) {
  for (const auto* path : {"/v1/status", "/v1/mode", "/v1/whoami", "/v1/denials", "/v1/grants", "/metrics"})
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

// ---- whoami

TEST_F(ApiTest, WhoamiSaysWhoAndThatTheGateIsOpen) {
  auto whoami = expect(200, send("GET", "/v1/whoami"));
  EXPECT_EQ(whoami.at("user").as_string(), "alice");
  EXPECT_EQ(whoami.at("uid").as_int64(), 1000);
  EXPECT_FALSE(whoami.at("admin").as_bool());
  EXPECT_EQ(whoami.at("access").as_string(), "allowed");
  EXPECT_EQ(whoami.at("why").as_string(), "the gate is not attached");
  EXPECT_TRUE(whoami.at("grant").is_null());
  grant("alice");
  whoami = expect(200, send("GET", "/v1/whoami"));
  EXPECT_EQ(whoami.at("grant").at("id").as_string(), "g-1");
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

TEST_F(ApiTest, RevokeIsAuditedWithWhoAndWhy) {
  grant("alice");
  be_admin();
  const auto revoked = expect(200, send("DELETE", "/v1/grants/alice", "reason=end%20of%20term"));
  EXPECT_EQ(revoked.at("state").as_string(), "revoked");
  EXPECT_THAT(kernel_.entries, IsEmpty());
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
  ASSERT_TRUE(grants_.revoke("g-1"));
  EXPECT_EQ(expect(200, send("GET", "/v1/grants", "all=true")).as_array().size(), 3U);
  EXPECT_EQ(expect(200, send("GET", "/v1/grants", "all=false")).as_array().size(), 2U);
}

}  // namespace
}  // namespace ds01::control
