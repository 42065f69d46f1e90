// SPDX-License-Identifier: Apache-2.0
// The bodies of requests.
#include "control/bodies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>

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
  EXPECT_EQ(request->caps, "none");
  EXPECT_EQ(request->reason, "");
  EXPECT_EQ(request->on_expiry, std::nullopt);
  EXPECT_FALSE(request->dry_run);
}

TEST(ParseGrantRequest, FieldsAllAreRead) {
  const auto request = parse_grant_request(
      R"({"subject": "uid:5", "duration_s": 90, "gpus": [0, "GPU-aaaa"], "caps": ["nvidia-cap1", "mig/config"], "reason": "größe", "on_expiry": "kill", "dry_run": true})");
  ASSERT_TRUE(request) << fake::message(request);
  EXPECT_EQ(std::get<std::chrono::seconds>(request->end), 90s);
  EXPECT_EQ(request->gpus, "0,GPU-aaaa");
  EXPECT_EQ(request->caps, "nvidia-cap1,mig/config");
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

TEST(ParseGrantRequest, CapsAreATextOrAList) {
  const auto caps = [](const std::string& value) {
    const auto request = parse_grant_request(R"({"subject": "a", "caps": )" + value + "}");
    return request ? request->caps : fake::message(request);
  };
  EXPECT_EQ(caps("null"), "none");
  EXPECT_EQ(caps("[]"), "none");
  EXPECT_EQ(caps(R"("nvidia-cap1,nvidia-cap2")"), "nvidia-cap1,nvidia-cap2");
  EXPECT_EQ(caps(R"("none")"), "none");
  for (const auto* bad : {"5", "[5]", R"(["a,b"])", R"([["a"]])", "{}"})
    EXPECT_EQ(caps(bad), "field 'caps' must be \"none\" or a list of names such as nvidia-cap30") << bad;
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

// ---- extensions, requests and answers

TEST(ParseExtension, DurationIsNeeded) {
  EXPECT_EQ(parse_extension(R"({"duration_s": 3600})").value_or(0s), 3600s);
  const Bad table[] = {
      {"", "not a JSON object"},
      {"{}", "'duration_s' is missing"},
      {R"({"duration_s": null})", "'duration_s' is missing"},
      {R"({"duration_s": 0})", "'duration_s' must be"},
      {R"({"duration_s": "1h"})", "'duration_s' must be"},
      {R"({"duration_s": 60, "reason": "x"})", "unknown field 'reason'"},
  };
  for (const auto& [body, message] : table) {
    EXPECT_EQ(fake::code(parse_extension(body)), ErrorCode::invalid) << body;
    EXPECT_THAT(fake::message(parse_extension(body)), HasSubstr(message)) << body;
  }
}

TEST(ParseAsk, FieldsAllAreRead) {
  const auto ask = parse_ask(R"({"duration_s": 60, "gpus": [0, "GPU-a"], "reason": "thesis"})");
  ASSERT_TRUE(ask) << fake::message(ask);
  EXPECT_EQ(ask->duration, 60s);
  EXPECT_EQ(ask->gpus, "0,GPU-a");
  EXPECT_EQ(ask->reason, "thesis");
}

TEST(ParseAsk, ReasonAloneHasTheDefaults) {
  const auto ask = parse_ask(R"({"reason": "thesis"})");
  ASSERT_TRUE(ask) << fake::message(ask);
  EXPECT_EQ(ask->duration, std::nullopt);
  EXPECT_EQ(ask->gpus, "all");
}

TEST(ParseAsk, EverythingElseIsRefused) {
  const Bad table[] = {
      {"", "not a JSON object"},
      {"{}", "'reason' is missing"},
      {R"({"reason": 1})", "'reason' must be a string"},
      {R"({"reason": "x", "duration_s": -1})", "'duration_s' must be"},
      {R"({"reason": "x", "gpus": 0})", "'gpus' must be"},
      {R"({"reason": "x", "user": "bob"})", "unknown field 'user'"},
      {R"({"reason": "x", "subject": "bob"})", "unknown field 'subject'"},
      {R"({"reason": "x", "permanent": true})", "unknown field 'permanent'"},
  };
  for (const auto& [body, message] : table) {
    EXPECT_EQ(fake::code(parse_ask(body)), ErrorCode::invalid) << body;
    EXPECT_THAT(fake::message(parse_ask(body)), HasSubstr(message)) << body;
  }
}

TEST(ParseApproval, DurationMayBeLeftOut) {
  EXPECT_EQ(*parse_approval(""), std::nullopt);
  EXPECT_EQ(*parse_approval("{}"), std::nullopt);
  EXPECT_EQ(*parse_approval(R"({"duration_s": 60})"), 60s);
  for (const auto* body : {"null", "[]", R"({"duration_s": "1h"})", R"({"gpus": "all"})"})
    EXPECT_EQ(fake::code(parse_approval(body)), ErrorCode::invalid) << body;
}

TEST(ParseDenial, ReasonIsNeeded) {
  EXPECT_EQ(parse_denial(R"({"reason": "too long"})").value_or(""), "too long");
  for (const auto* body : {"", "{}", R"({"reason": null})", R"({"reason": 1})", R"({"reason": "x", "y": 1})"})
    EXPECT_EQ(fake::code(parse_denial(body)), ErrorCode::invalid) << body;
}

TEST(ParseSeen, NumberIsNeeded) {
  EXPECT_EQ(parse_seen(R"({"number": 3})").value_or(0), 3U);
  for (const auto* body : {"", "{}", R"({"number": 0})", R"({"number": -1})", R"({"number": "3"})",
                           R"({"number": 1.5})", R"({"number": 18446744073709551615})", R"({"number": 3, "uid": 0})"})
    EXPECT_EQ(fake::code(parse_seen(body)), ErrorCode::invalid) << body;
}

}  // namespace
}  // namespace ds01::control
