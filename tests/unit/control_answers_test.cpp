// SPDX-License-Identifier: Apache-2.0
// The API's routes about processes.
#include <boost/json/serialize.hpp>

#include "control_fixture.h"

namespace ds01::control {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class AnswersApiTest : public ApiTest {
 protected:
  AnswersApiTest() {
    folder_.make("proc/1");
    std::filesystem::create_directory_symlink("/", folder_.path() / "proc/1/root");
  }
  std::size_t holders_seen(const std::string& query = "") {
    return expect(200, send("GET", "/v1/holders", query)).as_array().size();
  }
};

TEST_F(AnswersApiTest, HoldersHaveTheContractsFields) {
  auto record = fake::holder();
  record.allowed = 1;
  record.reason = DS01_BY_USER_GRANT;
  record.grant = 7;
  source_.records = {record};
  const auto rows = expect(200, send("GET", "/v1/holders"));
  EXPECT_EQ(
      boost::json::serialize(rows),
      R"([{"pid":4711,"comm":"python3","user":"alice","uid":1000,"cgroup":"","devices":["gpu0"],"fds":1,"maps":0,)"
      R"("since":"2026-03-01T11:58:20Z","grant_id":"g-7","allowed":true,"denied_device":null,)"
      R"("why":"the user's grant"}])");
}

TEST_F(AnswersApiTest, HoldersAreTheCallersOrAnAdminsAll) {
  auto bobs = fake::holder();
  bobs.uid = 1001;
  bobs.tgid = 4712;
  source_.records = {fake::holder(), bobs};
  EXPECT_EQ(holders_seen(), 1U);
  be_admin();
  EXPECT_EQ(holders_seen(), 2U);
}

TEST_F(AnswersApiTest, HoldersOfOneDeviceByNameOrPath) {
  auto null = fake::holder();
  null.device = DS01_DEV(1U, 3U);
  null.device_class = DS01_CLASS_COMPUTE;
  null.tgid = 5;
  source_.records = {fake::holder(), null};
  EXPECT_EQ(holders_seen("device=gpu0"), 1U);
  EXPECT_EQ(holders_seen("device=gpu1"), 0U);
  EXPECT_EQ(expect(200, send("GET", "/v1/holders", "device=/dev/null")).at(0).at("pid").as_int64(), 5);
  EXPECT_EQ(refused(404, send("GET", "/v1/holders", "device=/dev/nothing")), "there is no /dev/nothing");
}

TEST_F(AnswersApiTest, HoldersAreNotForContainers) {
  source_.records = {fake::holder()};
  caller_.on_host = false;
  EXPECT_EQ(refused(403, send("GET", "/v1/holders")), "holders are listed on the host, not in a container");
}

TEST_F(AnswersApiTest, HoldersWithoutTheKernelSideAre503) {
  source_.broken = true;
  EXPECT_THAT(refused(503, send("GET", "/v1/holders")), HasSubstr("not attached"));
}

// ---- explain; what layers say is in control_explain_test.cpp

TEST_F(AnswersApiTest, ExplainOfAUserNamesTheLayers) {
  folder_.write("devices", "Character devices:\n  1 mem\n");
  const auto answer = expect(200, send("GET", "/v1/explain", "user=alice&device=/dev/null"));
  EXPECT_EQ(answer.at("user").as_string(), "alice");
  EXPECT_TRUE(answer.at("pid").is_null());
  EXPECT_EQ(answer.at("device").at("major").as_int64(), 1);
  EXPECT_THAT(answer.at("layers").as_array(), SizeIs(3));
  EXPECT_TRUE(answer.at("allowed").as_bool());
  EXPECT_EQ(answer.at("layers").at(2).at("why").as_string(), "the gate is not attached");
}

TEST_F(AnswersApiTest, ExplainOfAProcessReadsItsRights) {
  folder_.write("devices", "Character devices:\n  1 mem\n");
  folder_.write("proc/4711/status",
                "Name:\tpython3\nUid:\t1000\t1000\t1000\t1000\nGid:\t1\t1\t1\t1\nGroups:\t\nCapEff:\t0\n");
  std::filesystem::create_directory_symlink("/", folder_.path() / "proc/4711/root");
  const auto answer = expect(200, send("GET", "/v1/explain", "pid=4711&device=/dev/null"));
  EXPECT_EQ(answer.at("comm").as_string(), "python3");
  EXPECT_EQ(answer.at("layers").at(0).at("verdict").as_string(), "allows");
  be(1001, "bob");
  EXPECT_THAT(refused(403, send("GET", "/v1/explain", "pid=4711&device=/dev/null")), HasSubstr("only admins"));
}

TEST_F(AnswersApiTest, ExplainOfOthersIsForAdmins) {
  EXPECT_THAT(refused(403, send("GET", "/v1/explain", "user=bob&device=/dev/null")), HasSubstr("only admins"));
  be_admin();
  EXPECT_EQ(send("GET", "/v1/explain", "user=bob&device=/dev/null").status, 200U);
  EXPECT_EQ(send("GET", "/v1/explain", "user=nobody-here&device=/dev/null").status, 404U);
}

TEST_F(AnswersApiTest, ExplainOfNobodyOrNothingIsRefused) {
  be_admin();
  EXPECT_EQ(refused(400, send("GET", "/v1/explain")), "give either 'user' or 'pid'");
  EXPECT_NE(refused(400, send("GET", "/v1/explain", "user=alice&pid=1")), "");
  EXPECT_NE(refused(400, send("GET", "/v1/explain", "pid=x")), "");
  EXPECT_EQ(refused(404, send("GET", "/v1/explain", "pid=4711")), "there is no process 4711");
  EXPECT_THAT(refused(404, send("GET", "/v1/explain", "user=alice&device=gpu9")), HasSubstr("no gated device 'gpu9'"));
  caller_.on_host = false;
  EXPECT_EQ(refused(403, send("GET", "/v1/explain", "user=root")),
            "explanations are given on the host, not in a container");
}

}  // namespace
}  // namespace ds01::control
