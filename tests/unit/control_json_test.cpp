// SPDX-License-Identifier: Apache-2.0
// The contract's JSON, both ways, and the metrics.
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

// ---- grant requests

TEST(ParseGrantRequest, SubjectAloneHasTheDefaults) {
  const auto request = parse_grant_request(R"({"subject": "alice"})");
  ASSERT_TRUE(request) << fake::message(request);
  EXPECT_EQ(request->subject, "alice");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(request->end));
  EXPECT_EQ(request->gpus, "all");
  EXPECT_EQ(request->reason, "");
  EXPECT_EQ(request->on_expiry, std::nullopt);
  EXPECT_FALSE(request->dry_run);
}

TEST(ParseGrantRequest, FieldsAllAreRead) {
  const auto request = parse_grant_request(
      R"({"subject": "uid:5", "duration_s": 90, "gpus": [0, "GPU-aaaa"], "reason": "größe", "on_expiry": "kill", "dry_run": true})");
  ASSERT_TRUE(request) << fake::message(request);
  EXPECT_EQ(std::get<std::chrono::seconds>(request->end), 90s);
  EXPECT_EQ(request->gpus, "0,GPU-aaaa");
  EXPECT_EQ(request->reason, "größe");
  EXPECT_EQ(request->on_expiry, config::OnExpiry::kill);
  EXPECT_TRUE(request->dry_run);
}

TEST(ParseGrantRequest, EndHasThreeForms) {
  EXPECT_TRUE(
      std::holds_alternative<grants::Permanent>(parse_grant_request(R"({"subject": "a", "permanent": true})")->end));
  EXPECT_EQ(std::get<WallTime>(parse_grant_request(R"({"subject": "a", "expires_at": "2026-03-01T12:00:00Z"})")->end),
            WallTime(1772366400s));
  EXPECT_EQ(
      std::get<std::chrono::seconds>(
          parse_grant_request(R"({"subject": "a", "duration_s": 1, "permanent": false, "expires_at": null})")->end),
      1s);
}

struct Bad {
  std::string body;
  std::string message;
};

TEST(ParseGrantRequest, EverythingElseIsNamedAndRefused) {
  const std::string ends = "give one of 'duration_s', 'expires_at' and 'permanent'";
  const Bad table[] = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {"\"alice\"", "not a JSON object"},
      {"{\"subject\": \"a\"", "not a JSON object"},
      {"{\"subject\": \"a\"} x", "not a JSON object"},
      {"{\"subject\": \"\xff\"}", "not a JSON object"},
      {"{\"subject\": \"a\", \"x\": [[[[[[[[[[1]]]]]]]]]]}", "not a JSON object"},
      {"{}", "'subject' is missing"},
      {R"({"subject": null})", "'subject' is missing"},
      {R"({"subject": 5})", "'subject' must be a string"},
      {R"({"subject": "a", "duration": "1h"})", "unknown field 'duration'"},
      {R"({"subject": "a", "caps": null})", "unknown field 'caps'"},
      {R"({"subject": "a", "duration_s": "1h"})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": 0})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": -1})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": 1.5})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": 1e3})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": true})", "'duration_s' must be"},
      {R"({"subject": "a", "duration_s": 3162240001})", "at most a century"},
      {R"({"subject": "a", "duration_s": 9223372036854775807})", "at most a century"},
      {R"({"subject": "a", "duration_s": 18446744073709551615})", "at most a century"},
      {R"({"subject": "a", "expires_at": "tomorrow"})", "is not a time"},
      {R"({"subject": "a", "expires_at": 1772366400})", "'expires_at' must be a string"},
      {R"({"subject": "a", "permanent": "yes"})", "'permanent' must be true or false"},
      {R"({"subject": "a", "permanent": true, "duration_s": 60})", ends},
      {R"({"subject": "a", "expires_at": "2026-03-01", "duration_s": 60})", ends},
      {R"({"subject": "a", "expires_at": "2026-03-01", "permanent": true})", ends},
      {R"({"subject": "a", "gpus": 0})", "'gpus' must be"},
      {R"({"subject": "a", "gpus": [-1]})", "'gpus' must be"},
      {R"({"subject": "a", "gpus": [0.5]})", "'gpus' must be"},
      {R"({"subject": "a", "gpus": ["0,1"]})", "'gpus' must be"},
      {R"({"subject": "a", "gpus": [[0]]})", "'gpus' must be"},
      {R"({"subject": "a", "reason": 1})", "'reason' must be a string"},
      {R"({"subject": "a", "on_expiry": "explode"})", "'on_expiry' must be soft, cut or kill"},
      {R"({"subject": "a", "dry_run": 1})", "'dry_run' must be true or false"},
  };
  for (const auto& [body, message] : table) {
    const auto request = parse_grant_request(body);
    EXPECT_EQ(fake::code(request), ErrorCode::invalid) << body;
    EXPECT_THAT(fake::message(request), HasSubstr(message)) << body;
  }
}

TEST(ParseGrantRequest, FieldUnknownIsShownHarmless) {
  EXPECT_THAT(fake::message(parse_grant_request("{\"subject\": \"a\", \"x\\u001b[2J\": 1}")), Not(HasSubstr("\x1b")));
}

TEST(ParseGrantRequest, GpusNoneIsNotAll) {
  EXPECT_EQ(parse_grant_request(R"({"subject": "a", "gpus": []})")->gpus, "");
}

// ---- mode requests

TEST(ParseModeRequest, ModesAreRead) {
  EXPECT_EQ(parse_mode_request(R"({"mode": "full"})")->mode, config::Mode::full);
  EXPECT_EQ(parse_mode_request(R"({"gate": "gpu", "mode": "default"})")->mode, std::nullopt);
  EXPECT_EQ(parse_mode_request(R"({"mode": "disabled", "for_s": 3600})")->lasting, 3600s);
}

TEST(ParseModeRequest, EverythingElseIsRefused) {
  const Bad table[] = {
      {"", "not a JSON object"},
      {"{}", "'mode' is missing"},
      {R"({"mode": "off"})", "'mode' must be"},
      {R"({"mode": 2})", "'mode' must be a string"},
      {R"({"mode": "default", "for_s": 5})", "does not go with"},
      {R"({"mode": "full", "for_s": 0})", "'for_s' must be"},
      {R"({"mode": "full", "for": "1h"})", "unknown field 'for'"},
  };
  for (const auto& [body, message] : table) {
    EXPECT_EQ(fake::code(parse_mode_request(body)), ErrorCode::invalid) << body;
    EXPECT_THAT(fake::message(parse_mode_request(body)), HasSubstr(message)) << body;
  }
  EXPECT_EQ(fake::code(parse_mode_request(R"({"gate": "docker", "mode": "full"})")), ErrorCode::not_found);
}

// ---- grants

grants::Grant grant(const Clock& clock) {
  grants::Grant grant;
  grant.number = 7;
  grant.subject.uid = 1000;
  grant.subject.name = "alice";
  grant.gpus = {{0, "GPU-aaaa"}, {1, ""}};
  grant.created = clock.wall();
  grant.ends = clock.boot() + 90s;
  grant.ends_wall = clock.wall() + 90s;
  grant.granted_by = {0, "root", 1002};
  grant.reason = "thesis";
  return grant;
}

TEST(ToJson, GrantHasTheContractsShape) {
  const fake::Clock clock;
  EXPECT_EQ(
      boost::json::serialize(to_json(grant(clock), clock)),
      R"({"id":"g-7","subject":{"kind":"user","name":"alice","uid":1000},)"
      R"("gpus":[{"index":0,"uuid":"GPU-aaaa"},{"index":1,"uuid":null}],"caps":[],)"
      R"("created_at":"2026-03-01T12:00:00Z","expires_at":"2026-03-01T12:01:30Z","remaining_s":90,)"
      R"("on_expiry":"cut","granted_by":{"uid":0,"name":"root","login_uid":1002},"reason":"thesis","state":"active"})");
}

TEST(ToJson, GrantPermanentOfACgroupHasNulls) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.subject.kind = grants::Subject::Kind::cgroup;
  one.subject.path = "/job";
  one.gpus.reset();
  one.ends.reset();
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

TEST(ToJson, GrantEndedSaysWhenItReallyDid) {
  const fake::Clock clock;
  auto one = grant(clock);
  one.state = grants::State::revoked;
  one.ends_wall = clock.wall() + 10s;
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:00:10Z");
  EXPECT_EQ(to_json(one, clock).at("remaining_s").as_int64(), 0);
  one.ends.reset();  // it was permanent until somebody revoked it
  EXPECT_EQ(to_json(one, clock).at("expires_at").as_string(), "2026-03-01T12:00:10Z");
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

TEST(MetricsText, SumsWithoutNamingUsers) {
  const auto rows = counts();
  const auto text = metrics_text({rows, {1, 2, 3}, 4, true, config::Mode::full, 5, 6});
  for (const auto* line :
       {"ds01_decisions_total{class=\"gpu\",hook=\"open\",verdict=\"allowed\"} 14\n",
        "ds01_decisions_total{class=\"gpu\",hook=\"open\",verdict=\"denied\"} 4\n",
        "ds01_decisions_total{class=\"compute\",hook=\"open\",verdict=\"would_deny\"} 4\n",
        "ds01_decisions_total{class=\"admin.sock\",hook=\"connect\",verdict=\"denied\"} 2\n", "\nds01_attached 1\n",
        "\nds01_mode 2\n", "\nds01_grants_active 5\n", "\nds01_events_lost_total 1\n",
        "\nds01_events_limited_total 2\n", "\nds01_unattributed_total 3\n", "\nds01_recursion_misses_total 4\n",
        "\nds01_audit_lines_lost_total 6\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("selftest")));
  EXPECT_THAT(text, Not(HasSubstr("1000")));
  EXPECT_THAT(text, Not(HasSubstr("alice")));
}

TEST(MetricsText, EverySampleHasHelpAndType) {
  const auto rows = counts();
  std::istringstream in(metrics_text({rows, {}, 0, false, config::Mode::disabled, 0, 0}));
  std::string described;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# TYPE ")) described = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("#")) continue;
    EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), described);
  }
}

}  // namespace
}  // namespace ds01::control
