// SPDX-License-Identifier: Apache-2.0
// Entries, the limiter and the file sink.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "audit/entry.h"
#include "audit/limiter.h"
#include "audit/sinks.h"
#include "fakes.h"

namespace ds01::audit {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Entry entry(Kind kind, std::vector<std::pair<std::string, std::string>> fields = {}) {
  return {kind, Level::notice, WallTime(1772366400s + 5ms), "what happened", std::move(fields)};
}

boost::json::value parsed(const Entry& entry) {
  const auto line = to_json(entry);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  boost::system::error_code error;
  auto value = boost::json::parse(line, error);
  EXPECT_FALSE(error) << line;
  return value;
}

struct Class {
  Kind kind;
  const char* name;
  int class_uid;
  int activity_id;
};

TEST(ToJson, EveryKindHasItsOcsfClass) {
  const Class table[] = {
      {Kind::denial, "denial", 1001, 14},  {Kind::summary, "summary", 1001, 14}, {Kind::grant, "grant", 3005, 1},
      {Kind::extend, "extend", 3005, 1},   {Kind::revoke, "revoke", 3005, 2},    {Kind::expiry, "expiry", 3005, 2},
      {Kind::suspend, "suspend", 3005, 2}, {Kind::resume, "resume", 3005, 1},    {Kind::request, "request", 3005, 99},
      {Kind::answer, "answer", 3005, 99},  {Kind::notice, "notice", 3005, 99},   {Kind::mode, "mode", 3004, 3},
      {Kind::start, "start", 6002, 3},     {Kind::stop, "stop", 6002, 4},        {Kind::refused, "refused", 6003, 99},
      {Kind::reload, "reload", 3004, 3},   {Kind::drift, "drift", 3004, 3},      {Kind::lost, "lost", 6002, 99},
      {Kind::held, "held", 1001, 99},
  };
  for (const auto& row : table) {
    const auto line = parsed(entry(row.kind));
    EXPECT_EQ(name_of(row.kind), row.name);
    EXPECT_EQ(line.at("class_uid").as_int64(), row.class_uid) << row.name;
    EXPECT_EQ(line.at("activity_id").as_int64(), row.activity_id) << row.name;
    EXPECT_EQ(line.at("type_uid").as_int64(), row.class_uid * 100 + row.activity_id) << row.name;
    EXPECT_EQ(line.at("category_uid").as_int64(), row.class_uid / 1000) << row.name;
    EXPECT_EQ(line.at("unmapped").at("kind").as_string(), row.name);
    EXPECT_EQ(line.as_object().contains("file"), row.class_uid == 1001) << row.name;
  }
}

TEST(MessageId, EveryKindHasItsOwn) {
  std::set<std::string_view> seen;
  for (int i = 0; i <= static_cast<int>(Kind::lost); ++i) {
    const auto id = message_id(static_cast<Kind>(i));
    EXPECT_EQ(id.size(), 32U);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string_view::npos);
    EXPECT_TRUE(seen.insert(id).second) << id;
  }
  // Never to change: people filter by them.
  EXPECT_EQ(message_id(Kind::stop), "49b510190dbf43819849b5dc6452c0c5");
  EXPECT_EQ(message_id(Kind::lost), "5ee2b44bf599418e8bc76f620eee0e9e");
  EXPECT_EQ(message_id(Kind::denial), "546096117a134a3290c79efc84a9b2d6");
  EXPECT_EQ(message_id(Kind::grant), "42e1b345c25b429894232fd10a421de0");
}

TEST(ToJson, EntryHasTimeSeverityAndProduct) {
  auto line = parsed(entry(Kind::grant));
  EXPECT_EQ(line.at("time").as_int64(), 1772366400005);
  EXPECT_EQ(line.at("time_dt").as_string(), "2026-03-01T12:00:00Z");
  EXPECT_EQ(line.at("message").as_string(), "what happened");
  EXPECT_EQ(line.at("severity_id").as_int64(), 2);
  EXPECT_EQ(line.at("metadata").at("version").as_string(), "1.3.0");
  EXPECT_EQ(line.at("metadata").at("product").at("name").as_string(), "ds01");
  const std::pair<Level, int> severities[] = {
      {Level::critical, 5}, {Level::error, 4}, {Level::warning, 3}, {Level::notice, 2}, {Level::info, 1}};
  for (const auto& [level, severity] : severities) {
    auto one = entry(Kind::reload);
    one.level = level;
    EXPECT_EQ(parsed(one).at("severity_id").as_int64(), severity);
  }
}

TEST(ToJson, DenialInFullModeIsBlocked) {
  const auto line = parsed(entry(Kind::denial, {{"verdict", "denied"},
                                                {"user", "alice"},
                                                {"uid", "1000"},
                                                {"pid", "77"},
                                                {"comm", "python3"},
                                                {"exe", "/usr/bin/python3"},
                                                {"device", "gpu0"}}));
  EXPECT_EQ(line.at("action").as_string(), "Denied");
  EXPECT_EQ(line.at("action_id").as_int64(), 2);
  EXPECT_EQ(line.at("disposition").as_string(), "Blocked");
  EXPECT_EQ(line.at("status_id").as_int64(), 2);
  EXPECT_EQ(line.at("file").at("name").as_string(), "gpu0");
  EXPECT_EQ(line.at("actor").at("user").at("name").as_string(), "alice");
  EXPECT_EQ(line.at("actor").at("user").at("uid").as_string(), "1000");
  EXPECT_EQ(line.at("actor").at("process").at("pid").as_int64(), 77);
  EXPECT_EQ(line.at("actor").at("process").at("file").at("path").as_string(), "/usr/bin/python3");
}

TEST(ToJson, DenialInMonitoringModeIsOnlyDetected) {
  const auto line = parsed(entry(Kind::denial, {{"verdict", "would-deny"}}));
  EXPECT_EQ(line.at("action").as_string(), "Allowed");
  EXPECT_EQ(line.at("disposition").as_string(), "Detected");
  EXPECT_EQ(line.at("disposition_id").as_int64(), 15);
  EXPECT_EQ(line.at("status_id").as_int64(), 1);
}

TEST(ToJson, FieldsKeepTheirTypes) {
  const auto line = parsed(entry(
      Kind::summary,
      {{"a", "12"}, {"b", "0"}, {"c", "007"}, {"d", "1x"}, {"e", ""}, {"f", "18446744073709551615"}, {"g", "-1"}}));
  const auto& rest = line.at("unmapped");
  EXPECT_EQ(rest.at("a").as_int64(), 12);
  EXPECT_EQ(rest.at("b").as_int64(), 0);
  for (const auto* key : {"c", "d", "e", "f", "g"}) EXPECT_TRUE(rest.at(key).is_string()) << key;
}

TEST(ToJson, QuotesAndBackslashesStayOneLine) {
  const auto line = parsed(entry(Kind::grant, {{"reason", "a\"},{\"kind\":\"stop\\\n"}}));
  EXPECT_EQ(line.at("unmapped").at("kind").as_string(), "grant");
  EXPECT_EQ(line.at("unmapped").at("reason").as_string(), "a\"},{\"kind\":\"stop\\\n");
}

// ---- Limiter

BootTime at(std::chrono::nanoseconds time) { return BootTime(time); }

TEST(Limiter, WindowGoesFromWarningToNoticeToSilence) {
  Limiter limiter(3, 1h);
  EXPECT_EQ(limiter.admit(1000, at(1s)), Tier::warning);
  EXPECT_EQ(limiter.admit(1000, at(2s)), Tier::notice);
  EXPECT_EQ(limiter.admit(1000, at(3s)), Tier::notice);
  EXPECT_EQ(limiter.admit(1000, at(4s)), Tier::suppressed);
  EXPECT_EQ(limiter.admit(1000, at(5s)), Tier::suppressed);
}

TEST(Limiter, UsersDoNotShareAWindow) {
  Limiter limiter(1, 1h);
  EXPECT_EQ(limiter.admit(1000, at(1s)), Tier::warning);
  EXPECT_EQ(limiter.admit(1000, at(1s)), Tier::suppressed);
  EXPECT_EQ(limiter.admit(1001, at(1s)), Tier::warning);
}

TEST(Limiter, LimitOfNoneWritesNothing) {
  Limiter limiter(0, 1h);
  EXPECT_EQ(limiter.admit(1000, at(1s)), Tier::suppressed);
  const auto summaries = limiter.close(at(2h), {{1000, 1}}, false);
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].suppressed, 1U);
}

TEST(Limiter, SummaryIsWhatTheKernelCountedAndNobodyWrote) {
  Limiter limiter(2, 1h);
  for (int i = 0; i < 5; ++i) limiter.admit(1000, at(0s));  // two written; the kernel's bucket swallowed more
  EXPECT_THAT(limiter.close(at(1h - 1ns), {{1000, 500}}, false), IsEmpty());
  const auto summaries = limiter.close(at(1h), {{1000, 500}}, false);
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].uid, 1000U);
  EXPECT_EQ(summaries[0].suppressed, 498U);
}

TEST(Limiter, WindowsAddUpToTheExactTotal) {
  Limiter limiter(2, 1h);
  std::uint64_t lines = 0;
  std::uint64_t summed = 0;
  std::uint64_t total = 0;
  for (int window = 0; window < 4; ++window) {
    const auto now = at(window * 1h);
    for (int i = 0; i < 3 + window; ++i, ++total) lines += limiter.admit(1000, now) != Tier::suppressed;
    for (const auto& summary : limiter.close(now + 1h, {{1000, total}}, false)) summed += summary.suppressed;
  }
  EXPECT_EQ(lines, 8U);
  EXPECT_EQ(lines + summed, total);
}

TEST(Limiter, WindowWithNothingSuppressedHasNoSummary) {
  Limiter limiter(2, 1h);
  limiter.admit(1000, at(0s));
  EXPECT_THAT(limiter.close(at(1h), {{1000, 1}}, false), IsEmpty());
  EXPECT_EQ(limiter.admit(1000, at(1h)), Tier::warning);
}

TEST(Limiter, FinalClosesEveryWindow) {
  Limiter limiter(1, 1h);
  limiter.admit(1000, at(0s));
  const auto summaries = limiter.close(at(1s), {{1000, 3}, {1001, 7}}, true);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].suppressed, 2U);
  EXPECT_EQ(summaries[1].suppressed, 7U);
}

// All events of a user may be lost on the way; the counts still tell of them.
TEST(Limiter, DenialsWithoutAnyEventAreSummedUp) {
  Limiter limiter(2, 1h);
  EXPECT_THAT(limiter.close(at(0s), {{1000, 9}}, false), IsEmpty());
  const auto summaries = limiter.close(at(1h), {{1000, 12}}, false);
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].suppressed, 12U);
}

// The kernel's count map may be full, so that a user has no total. His denials must be written again all the same.
TEST(Limiter, UserWithoutATotalGetsANewWindow) {
  Limiter limiter(1, 1h);
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::warning);
  EXPECT_EQ(limiter.admit(1000, at(1s)), Tier::suppressed);
  EXPECT_THAT(limiter.close(at(30min), {}, false), IsEmpty());
  EXPECT_EQ(limiter.admit(1000, at(30min)), Tier::suppressed);
  EXPECT_THAT(limiter.close(at(1h), {}, false), IsEmpty());
  EXPECT_EQ(limiter.admit(1000, at(1h)), Tier::warning);
}

// An event may still be in the ring when the counts are read: counted as suppressed, then written.
TEST(Limiter, LineWrittenAfterItsSummaryCountsOnce) {
  Limiter limiter(1, 1h);
  limiter.admit(1000, at(0s));
  EXPECT_EQ(limiter.close(at(1h), {{1000, 2}}, false).at(0).suppressed, 1U);
  EXPECT_EQ(limiter.admit(1000, at(1h)), Tier::warning);  // the late one: now 3 are told of, 2 were
  EXPECT_THAT(limiter.close(at(2h), {{1000, 2}}, false), IsEmpty());
  limiter.admit(1000, at(2h));
  EXPECT_EQ(limiter.close(at(3h), {{1000, 5}}, false).at(0).suppressed, 1U);
}

// The kernel's counts are older than the agent.
TEST(Limiter, WhatWasCountedAtTheStartIsInNoSummary) {
  Limiter limiter(1, 1h);
  limiter.begin({{1000, 50}, {1001, 7}});
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::warning);
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::suppressed);
  const auto summaries = limiter.close(at(1h), {{1000, 52}, {1001, 7}}, true);
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].uid, 1000U);
  EXPECT_EQ(summaries[0].suppressed, 1U);
}

// Events that waited in the ring are among the totals of the start: their lines explain none of the later ones.
TEST(Limiter, LineForWhatWasCountedAtTheStartIsNotSetOff) {
  Limiter limiter(3, 1h);
  limiter.begin({{1000, 50}});
  EXPECT_EQ(limiter.admit(1000, at(0s), false), Tier::warning);
  EXPECT_EQ(limiter.admit(1000, at(0s), false), Tier::notice);
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::notice);
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::suppressed);
  const auto summaries = limiter.close(at(1h), {{1000, 54}}, false);  // four since, one of them written
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0].suppressed, 3U);
}

TEST(Limiter, LinesForTheStartAloneNeedNoSummary) {
  Limiter limiter(3, 1h);
  limiter.begin({{1000, 50}});
  limiter.admit(1000, at(0s), false);
  EXPECT_THAT(limiter.close(at(1h), {{1000, 50}}, false), IsEmpty());
  EXPECT_EQ(limiter.admit(1000, at(1h)), Tier::warning);
  EXPECT_THAT(limiter.close(at(2h), {{1000, 51}}, false), IsEmpty());
}

TEST(Limiter, LimitNewHoldsAtOnce) {
  Limiter limiter(1, 1h);
  limiter.admit(1000, at(0s));
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::suppressed);
  limiter.configure(2, 1min);
  EXPECT_EQ(limiter.admit(1000, at(0s)), Tier::notice);
  EXPECT_EQ(limiter.close(at(1min), {{1000, 3}}, false).size(), 1U);
}

// ---- JsonSink

std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

TEST(JsonSink, FileIsMadeForTheGroupAndAppendedTo) {
  const fake::Folder folder;
  folder.write("audit.jsonl", "{}\n");
  for (int i = 0; i < 2; ++i) {
    JsonSink sink(folder.path() / "audit.jsonl");
    ASSERT_TRUE(sink.reopen());
    EXPECT_TRUE(sink.write(entry(Kind::start)));
  }
  EXPECT_EQ(lines(folder.read("audit.jsonl")), 3U);
  EXPECT_THAT(folder.read("audit.jsonl"), StartsWith("{}\n"));

  JsonSink fresh(folder.path() / "fresh.jsonl");
  ASSERT_TRUE(fresh.reopen());
  struct stat status;
  ASSERT_EQ(::stat((folder.path() / "fresh.jsonl").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0137U, 0U);  // 0640 at most, whatever the umask
}

TEST(JsonSink, FileMovedAwayIsLeftAfterReopen) {
  const fake::Folder folder;
  JsonSink sink(folder.path() / "audit.jsonl");
  ASSERT_TRUE(sink.reopen());
  ASSERT_TRUE(sink.write(entry(Kind::start)));
  std::filesystem::rename(folder.path() / "audit.jsonl", folder.path() / "audit.jsonl.1");
  ASSERT_TRUE(sink.write(entry(Kind::stop)));  // logrotate has moved it; nothing is lost until it says so
  ASSERT_TRUE(sink.reopen());
  ASSERT_TRUE(sink.write(entry(Kind::reload)));
  EXPECT_EQ(lines(folder.read("audit.jsonl.1")), 2U);
  EXPECT_EQ(lines(folder.read("audit.jsonl")), 1U);
}

TEST(JsonSink, LinkIsRefused) {
  const fake::Folder folder;
  folder.write("target", "");
  std::filesystem::create_symlink(folder.path() / "target", folder.path() / "audit.jsonl");
  JsonSink sink(folder.path() / "audit.jsonl");
  EXPECT_FALSE(sink.reopen());
  EXPECT_FALSE(sink.write(entry(Kind::start)));
  EXPECT_EQ(folder.read("target"), "");
}

TEST(JsonSink, PathUnwritableIsAnErrorThatNamesIt) {
  const fake::Folder folder;
  folder.write("file", "");
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);  // no reader: open() must not wait for one
  for (const auto* name : {"absent/audit.jsonl", "file/audit.jsonl", ".", "fifo"}) {
    JsonSink sink(folder.path() / name);
    EXPECT_THAT(fake::message(sink.reopen()), HasSubstr((folder.path() / name).string()));
    EXPECT_EQ(fake::code(sink.write(entry(Kind::start))), ErrorCode::unavailable) << name;
  }
}

TEST(JsonSink, DiskFullIsAnError) {
  JsonSink sink("/dev/full");
  ASSERT_TRUE(sink.reopen());
  EXPECT_THAT(fake::message(sink.write(entry(Kind::start))), HasSubstr("No space left"));
}

}  // namespace
}  // namespace ds01::audit
