// SPDX-License-Identifier: Apache-2.0
// What the agent knows as the contract's JSON, and the metrics.
#include "control/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <sstream>
#include <string>

#include "control/metrics.h"
#include "fakes.h"

namespace ds01::control {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

// ---- grants

grants::Grant grant(const Clock& clock) {
  grants::Grant grant;
  grant.number = 7;
  grant.subject.uid = 1000;
  grant.subject.name = "alice";
  grant.gpus = {{0, "GPU-aaaa"}, {1, ""}};
  grant.caps = {"nvidia-cap30"};
  grant.created = clock.wall();
  grant.end = clock.boot() + 90s;
  grant.granted_by = {0, "root", 1002};
  grant.reason = "thesis";
  return grant;
}

TEST(ToJson, GrantHasTheContractsShape) {
  const fake::Clock clock;
  EXPECT_EQ(
      boost::json::serialize(to_json(grant(clock), clock)),
      R"({"id":"g-7","subject":{"kind":"user","name":"alice","uid":1000},)"
      R"("gpus":[{"index":0,"uuid":"GPU-aaaa"},{"index":1,"uuid":null}],"caps":["nvidia-cap30"],)"
      R"("created_at":"2026-03-01T12:00:00Z","expires_at":"2026-03-01T12:01:30Z","remaining_s":90,)"
      R"("on_expiry":"cut","granted_by":{"uid":0,"name":"root","login_uid":1002},"reason":"thesis","state":"active"})");
}

TEST(ToJson, GrantPermanentOfACgroupHasNulls) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.subject.kind = grants::Subject::Kind::cgroup;
  one.subject.path = "/job";
  one.gpus.reset();
  one.end = Never{};
  one.granted_by.login_uid.reset();
  const auto json = to_json(one, clock);
  EXPECT_EQ(boost::json::serialize(json.at("subject")), R"({"kind":"cgroup","path":"/job"})");
  EXPECT_EQ(json.at("gpus").as_string(), "all");
  EXPECT_TRUE(json.at("expires_at").is_null());
  EXPECT_TRUE(json.at("remaining_s").is_null());
  EXPECT_TRUE(json.at("granted_by").at("login_uid").is_null());
}

TEST(ToJson, RemainingIsRoundedUpAndNeverNegative) {
  fake::Clock clock;
  const auto one = grant(clock);
  clock.advance(89s + 1ns);
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 1);
  clock.advance(1h);
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 0);
}

TEST(ToJson, GrantThatEndsOnTheWallClockFollowsIt) {
  fake::Clock clock;
  auto one = grant(clock);
  one.end = clock.wall() + 90s;
  clock.step_wall(30s);
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:01:30Z");
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 60);
  one.end = clock.boot() + 90s;
  clock.step_wall(30s);
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:02:30Z");
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 90);
}

TEST(ToJson, GrantSuspendedKeepsItsEnd) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.state = grants::State::suspended;
  EXPECT_EQ(to_json(one, clock).at("state").as_string(), "suspended");
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 90);
}

TEST(ToJson, GrantEndedSaysWhenItReallyDid) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.state = grants::State::revoked;
  one.ended = clock.wall() + 10s;
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:00:10Z");
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 0);
  one.end = Never{};  // it was permanent until somebody revoked it
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:00:10Z");
}

// ---- history

TEST(HistoryJson, SaysHowItEnded) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.state = grants::State::revoked;
  one.ended = clock.wall() + 10s;
  one.ended_by = grants::Actor{0, "root", std::nullopt};
  one.end_reason = "maintenance";
  const auto json = history_json(one, clock);
  EXPECT_EQ(json.at("id").as_string(), "g-7");
  EXPECT_EQ(json.at("ended_at").as_string(), "2026-03-01T12:00:10Z");
  EXPECT_EQ(json.at("lasted_s").as_int64(), 10);
  EXPECT_EQ(json.at("how").as_string(), "revoked");
  EXPECT_EQ(boost::json::serialize(json.at("ended_by")), R"({"uid":0,"name":"root","login_uid":null})");
  EXPECT_EQ(json.at("end_reason").as_string(), "maintenance");
}

TEST(HistoryJson, ExpiredHasNobodyBehindIt) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.state = grants::State::expired;
  one.ended = clock.wall() - 1h;  // the clock was set back
  const auto json = history_json(one, clock);
  EXPECT_EQ(json.at("how").as_string(), "expired");
  EXPECT_TRUE(json.at("ended_by").is_null());
  EXPECT_EQ(json.at("lasted_s").as_int64(), 0);
}

// ---- requests and notices

grants::Request request(const Clock& clock) {
  grants::Request request;
  request.number = 3;
  request.who = {1000, "alice", 1000};
  request.duration = 1h;
  request.gpus = "0,1";
  request.reason = "thesis";
  request.created = clock.wall();
  request.lapses = clock.boot() + 24h;
  return request;
}

TEST(ToJson, RequestHasTheContractsShape) {
  const fake::Clock clock;
  EXPECT_EQ(boost::json::serialize(to_json(request(clock), clock)),
            R"({"id":"r-3","user":{"name":"alice","uid":1000},"duration_s":3600,"gpus":"0,1","reason":"thesis",)"
            R"("created_at":"2026-03-01T12:00:00Z","lapses_at":"2026-03-02T12:00:00Z","state":"pending",)"
            R"("decided_at":null,"decided_by":null,"answer":"","grant_id":null})");
}

TEST(ToJson, RequestAnsweredSaysByWhomAndHow) {
  const fake::Clock clock;
  auto one = request(clock);
  one.state = grants::RequestState::approved;
  one.decided = clock.wall() + 1min;
  one.decided_by = grants::Actor{1002, "carol", 1002};
  one.grant = 9;
  const auto json = to_json(one, clock);
  EXPECT_TRUE(json.at("lapses_at").is_null());
  EXPECT_EQ(json.at("state").as_string(), "approved");
  EXPECT_EQ(json.at("decided_at").as_string(), "2026-03-01T12:01:00Z");
  EXPECT_EQ(json.at("decided_by").at("name").as_string(), "carol");
  EXPECT_EQ(json.at("grant_id").as_string(), "g-9");
}

TEST(NoticesJson, NumberTimeText) {
  const fake::Clock clock;
  EXPECT_EQ(boost::json::serialize(notices_json({{4, clock.wall(), "g-1 has ended"}})),
            R"([{"number":4,"time":"2026-03-01T12:00:00Z","text":"g-1 has ended"}])");
  EXPECT_EQ(boost::json::serialize(notices_json({})), "[]");
}

// ---- denials

std::vector<kernel::Count> counts() {
  const auto ns = [](std::chrono::nanoseconds time) { return static_cast<std::uint64_t>(time.count()); };
  return {
      {{1001, DS01_CLASS_GPU, DS01_HOOK_OPEN}, {{5, 3, 0}, ns(999s), ns(1000s)}},
      {{1000, DS01_CLASS_COMPUTE, DS01_HOOK_OPEN}, {{0, 0, 4}, ns(940s), ns(940s)}},
      {{1000, DS01_CLASS_GPU, DS01_HOOK_OPEN}, {{9, 1, 0}, ns(1s), ns(2s)}},
      {{1000, DS01_CLASS_CONTROL, DS01_HOOK_OPEN}, {{9, 0, 0}, 0, 0}},  // nothing denied
      {{0, DS01_CLASS_SELFTEST, DS01_HOOK_OPEN}, {{0, 1, 0}, ns(1s), ns(1s)}},
      {{4242, DS01_CLASS_ADMIN_SOCKET, DS01_HOOK_CONNECT}, {{0, 2, 0}, ns(1s), ns(1s)}},
  };
}

TEST(DenialsJson, OnlyDenialsSortedAndNamed) {
  const fake::Clock clock;
  const fake::Users users;
  const auto rows = denials_json(counts(), std::nullopt, users, clock);
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(boost::json::serialize(rows[1]),
            R"({"user":"alice","uid":1000,"class":"compute","hook":"open","count":0,"would_deny_count":4,)"
            R"("first_at":"2026-03-01T11:59:00Z","last_at":"2026-03-01T11:59:00Z"})");
  EXPECT_EQ(rows[0].at("class").as_string(), "gpu");
  EXPECT_EQ(rows[2].at("user").as_string(), "bob");
  EXPECT_EQ(rows[3].at("user").as_string(), "uid:4242");
  EXPECT_EQ(rows[3].at("hook").as_string(), "connect");
}

TEST(DenialsJson, OfOneUserOnly) {
  const fake::Clock clock;
  const fake::Users users;
  EXPECT_EQ(denials_json(counts(), 1001, users, clock).size(), 1U);
  EXPECT_EQ(denials_json(counts(), 0, users, clock).size(), 0U);
}

// ---- metrics

TEST(MetricsText, BackendIsNamedWhileAttachedOnly) {
  const auto rows = counts();
  EXPECT_THAT(metrics_text({rows, {}, 0, false, config::Mode::full, 0, 0, 0, true, 0, ""}),
              Not(HasSubstr("ds01_backend")));
}

TEST(MetricsText, SumsWithoutNamingUsers) {
  const auto rows = counts();
  const auto text = metrics_text({rows, {1, 2, 3}, 4, true, config::Mode::full, 5, 7, 8, true, 6, "cgroup_device"});
  for (const auto* line :
       {"ds01_decisions_total{class=\"gpu\",hook=\"open\",verdict=\"allowed\"} 14\n",
        "ds01_decisions_total{class=\"gpu\",hook=\"open\",verdict=\"denied\"} 4\n",
        "ds01_decisions_total{class=\"compute\",hook=\"open\",verdict=\"would_deny\"} 4\n",
        "ds01_decisions_total{class=\"admin.sock\",hook=\"connect\",verdict=\"denied\"} 2\n", "\nds01_attached 1\n",
        "\nds01_backend{backend=\"cgroup_device\"} 1\n", "\nds01_mode 2\n", "\nds01_grants_active 5\n",
        "\nds01_grants_suspended 7\n", "\nds01_requests_pending 8\n", "\nds01_store_ok 1\n",
        "\nds01_events_lost_total 1\n", "\nds01_events_limited_total 2\n", "\nds01_unattributed_total 3\n",
        "\nds01_recursion_misses_total 4\n", "\nds01_audit_lines_lost_total 6\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("selftest")));
  EXPECT_THAT(text, Not(HasSubstr("1000")));
  EXPECT_THAT(text, Not(HasSubstr("alice")));
}

TEST(MetricsText, EverySampleHasHelpAndType) {
  const auto rows = counts();
  std::istringstream in(metrics_text({rows, {}, 0, false, config::Mode::disabled, 0, 0, 0, false, 0, "bpf_lsm"}));
  std::string described;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# TYPE ")) described = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("#")) continue;
    EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), described);
  }
}

}  // namespace
}  // namespace ds01::control
