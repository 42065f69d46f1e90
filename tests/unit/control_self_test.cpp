// SPDX-License-Identifier: Apache-2.0
// The API's routes about the caller. What `why` says is in control_access_test.cpp.
#include "control/access.h"
#include "control_fixture.h"

namespace ds01::control {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using SelfApiTest = ApiTest;

TEST_F(SelfApiTest, WhoamiSaysWhoAndThatTheGateIsOpen) {
  auto whoami = expect(200, send("GET", "/v1/whoami"));
  EXPECT_EQ(whoami.at("user").as_string(), "alice");
  EXPECT_EQ(whoami.at("uid").as_int64(), 1000);
  EXPECT_FALSE(whoami.at("admin").as_bool());
  EXPECT_EQ(whoami.at("access").as_string(), "allowed");
  EXPECT_EQ(whoami.at("why").as_string(), "the gate is not attached");
  EXPECT_TRUE(whoami.at("grant").is_null());
  EXPECT_THAT(whoami.at("notices").as_array(), IsEmpty());
  grant("alice");
  whoami = expect(200, send("GET", "/v1/whoami"));
  EXPECT_EQ(whoami.at("grant").at("id").as_string(), "g-1");
}

TEST_F(SelfApiTest, WhoamiInAnyCgroup) {
  folder_.make("cgroup/job/step");
  grant("cgroup:/job");
  for (const auto* path : {"/job", "/job/step", "/", "", "relative"}) {
    caller_.cgroup = path;
    EXPECT_EQ(send("GET", "/v1/whoami").status, 200U) << path;
  }
}

TEST_F(SelfApiTest, GrantOfTheNearestCgroupCounts) {
  folder_.make("cgroup/job/step/deep");
  grant("cgroup:/job");
  grant("cgroup:/job/step");
  const auto found = [&](const std::string& cgroup) {
    const auto grant = grant_of_cgroup(grants_, cgroup);
    return grant ? grant->id() : "";
  };
  EXPECT_EQ(found("/job"), "g-1");
  EXPECT_EQ(found("/job/other"), "g-1");
  EXPECT_EQ(found("/job/step"), "g-2");
  EXPECT_EQ(found("/job/step/deep"), "g-2");
  for (const auto* path : {"/jobs", "/a/job", "/", "", "job"}) EXPECT_EQ(found(path), "") << path;
}

TEST_F(SelfApiTest, NoticesAreTheCallersUntilSeen) {
  ASSERT_TRUE(notifier_.tell(1000, "one"));
  ASSERT_TRUE(notifier_.tell(1001, "for bob"));
  ASSERT_TRUE(notifier_.tell(1000, "two"));
  auto notices = expect(200, send("GET", "/v1/whoami")).at("notices").as_array();
  ASSERT_EQ(notices.size(), 2U);
  EXPECT_EQ(notices[0].at("text").as_string(), "one");
  EXPECT_EQ(notices[0].at("time").as_string(), "2026-03-01T12:00:00Z");
  const auto first = notices[0].at("number").to_number<std::int64_t>();
  EXPECT_EQ(send("POST", "/v1/notices/seen", "", "{\"number\": " + std::to_string(first) + "}").status, 200U);
  notices = expect(200, send("GET", "/v1/whoami")).at("notices").as_array();
  ASSERT_EQ(notices.size(), 1U);
  EXPECT_EQ(notices[0].at("text").as_string(), "two");
}

TEST_F(SelfApiTest, NoticesOfOthersCannotBeMarkedSeen) {
  ASSERT_TRUE(notifier_.tell(1000, "one"));
  be(1001, "bob");
  EXPECT_EQ(send("POST", "/v1/notices/seen", "", R"({"number": 1000})").status, 200U);
  EXPECT_EQ(notices(1000).size(), 1U);
}

TEST_F(SelfApiTest, NoticesAreNotForContainers) {
  ASSERT_TRUE(notifier_.tell(1000, "one"));
  caller_.on_host = false;
  EXPECT_THAT(expect(200, send("GET", "/v1/whoami")).at("notices").as_array(), IsEmpty());
  EXPECT_EQ(refused(403, send("POST", "/v1/notices/seen", "", R"({"number": 1000})")),
            "notices are read on the host, not in a container");
  EXPECT_EQ(notices(1000).size(), 1U);
}

TEST_F(SelfApiTest, SeenWithoutANumberIs400) {
  for (const auto* body : {"", "{}", R"({"number": 0})", R"({"number": 1, "uid": 1001})"})
    EXPECT_NE(refused(400, send("POST", "/v1/notices/seen", "", body)), "") << body;
}

}  // namespace
}  // namespace ds01::control
