// SPDX-License-Identifier: Apache-2.0
// The trail, written to a file of JSON lines only.
#include "audit/trail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "fakes.h"
#include "identity/process.h"

namespace ds01::audit {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class TrailTest : public ::testing::Test {
 protected:
  TrailTest() {
    settings_.journald = false;
    settings_.json = folder_.path() / "audit.jsonl";
    settings_.limit = 3;
    trail_.configure(settings_);
  }

  std::vector<boost::json::value> lines(const std::string& name = "audit.jsonl") const {
    std::vector<boost::json::value> out;
    std::ifstream in(folder_.path() / name);
    for (std::string line; std::getline(in, line);) out.push_back(boost::json::parse(line));
    return out;
  }
  // The only line's field, as text.
  std::string field(const char* key) const {
    const auto all = lines();
    if (all.size() != 1) {
      ADD_FAILURE() << all.size() << " lines";
      return "";
    }
    const auto& value = all[0].at("unmapped").at(key);
    return value.is_string() ? std::string(value.as_string()) : std::to_string(value.to_number<std::int64_t>());
  }
  std::string message() const { return std::string(lines().at(0).at("message").as_string()); }

  ds01_event event() const {
    ds01_event event{};
    event.time = static_cast<std::uint64_t>(clock_.boot().time_since_epoch().count());
    event.uid = 1000;
    event.login_uid = ~0U;
    event.tgid = 4'000'000;
    event.tid = 4'000'001;
    event.device = DS01_DEV(195U, 2U);
    event.device_class = DS01_CLASS_GPU;
    event.index = 2;
    event.hook = DS01_HOOK_OPEN;
    event.verdict = DS01_DENIED;
    event.reason = DS01_NO_GRANT;
    std::strcpy(event.comm, "python3");
    return event;
  }
  // g-7 of alice, for an hour.
  grants::Grant grant() const {
    grants::Grant grant;
    grant.number = 7;
    grant.subject.uid = 1000;
    grant.subject.name = "alice";
    grant.end = clock_.boot() + 1h;
    grant.granted_by = {0, "root", 1002};
    grant.reason = "thesis";
    return grant;
  }
  // r-3 of alice.
  static grants::Request request() {
    grants::Request request;
    request.number = 3;
    request.who = {1000, "alice", 1001};
    request.duration = 90min;
    request.gpus = "all";
    request.reason = "thesis";
    return request;
  }
  static config::Audit nothing() {
    config::Audit settings;
    settings.journald = false;
    settings.json.clear();
    return settings;
  }

  fake::Folder folder_;
  fake::Folder root_;
  fake::Clock clock_;
  fake::Users users_;
  identity::Cgroups cgroups_{root_.path()};
  std::vector<std::string> losses_;
  config::Audit settings_;
  Trail trail_{{clock_, users_, cgroups_, "/proc", [this](const Error& error) { losses_.push_back(error.message); }},
               nothing()};
};

TEST_F(TrailTest, DenialSaysWhoWhatAndWhy) {
  trail_.denial(event());
  EXPECT_EQ(message(), "alice was denied to open gpu2 (python3, pid 4000000): no grant");
  EXPECT_EQ(field("kind"), "denial");
  EXPECT_EQ(field("uid"), "1000");
  EXPECT_EQ(field("dev"), "195:2");
  EXPECT_EQ(field("class"), "gpu");
  EXPECT_EQ(field("hook"), "open");
  EXPECT_EQ(field("verdict"), "denied");
  EXPECT_EQ(field("login_uid"), "");
  EXPECT_EQ(field("grant"), "");
  EXPECT_EQ(field("exe"), "");  // no such process
}

TEST_F(TrailTest, DenialInMonitoringModeSaysWould) {
  auto one = event();
  one.verdict = DS01_WOULD_DENY;
  one.hook = DS01_HOOK_CONNECT;
  one.device_class = DS01_CLASS_ADMIN_SOCKET;
  one.reason = DS01_IN_CONTAINER;
  one.login_uid = 1001;
  one.grant = 7;
  trail_.denial(one);
  EXPECT_THAT(message(), HasSubstr("alice would be denied to connect to admin.sock"));
  EXPECT_EQ(field("verdict"), "would-deny");
  EXPECT_EQ(field("login_uid"), "1001");
  EXPECT_EQ(field("grant"), "g-7");
}

TEST_F(TrailTest, DenialOfThisProcessNamesItsExecutable) {
  const auto self = identity::read_process("/proc", ::getpid());
  ASSERT_TRUE(self);
  auto one = event();
  one.tgid = static_cast<std::uint32_t>(::getpid());
  const auto tick = 1'000'000'000ULL / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  one.task_start = self->start_ticks * tick + tick / 2;
  trail_.denial(one);
  EXPECT_EQ(field("exe"), self->executable);
}

TEST_F(TrailTest, DenialOfAPidUsedAgainNamesNoExecutable) {
  auto one = event();
  one.tgid = static_cast<std::uint32_t>(::getpid());
  one.task_start = 1;
  trail_.denial(one);
  EXPECT_EQ(field("exe"), "");
}

TEST_F(TrailTest, CommHostileCannotForgeALine) {
  auto one = event();
  std::memcpy(one.comm, "xyz\n{\"a\":1}\x1b[2J\xff", 16);  // sixteen bytes, no end
  trail_.denial(one);
  EXPECT_EQ(lines().size(), 1U);
  EXPECT_EQ(field("comm"), "xyz\\x0a{\"a\":1}\\x1b[2J\\xff");
}

TEST_F(TrailTest, FieldsOutOfRangeStayHarmless) {
  auto one = event();
  one.hook = 200;
  one.reason = 200;
  one.device_class = 200;
  one.uid = ~0U;
  trail_.denial(one);
  EXPECT_EQ(lines().size(), 1U);
  EXPECT_EQ(field("class"), "unknown");
}

TEST_F(TrailTest, DenialsOverTheLimitBecomeOneExactSummary) {
  for (int i = 0; i < 20; ++i) trail_.denial(event());
  ASSERT_EQ(lines().size(), 3U);
  EXPECT_EQ(lines()[0].at("severity_id").as_int64(), 3);  // the first one warns
  EXPECT_EQ(lines()[1].at("severity_id").as_int64(), 2);
  trail_.close_windows({{1000, 20}}, false);
  EXPECT_EQ(lines().size(), 3U);
  clock_.advance(1h);
  trail_.close_windows({{1000, 20}}, false);
  ASSERT_EQ(lines().size(), 4U);
  EXPECT_EQ(lines()[3].at("unmapped").at("suppressed").as_int64(), 17);
  EXPECT_EQ(lines()[3].at("unmapped").at("kind").as_string(), "summary");
}

// It may have waited in the ring while no agent was running.
TEST_F(TrailTest, DenialHasTheTimeAtWhichItHappened) {
  const auto one = event();
  clock_.advance(10min);
  clock_.step_wall(1h);
  trail_.denial(one);
  EXPECT_EQ(lines().at(0).at("time_dt").as_string(), "2026-03-01T13:00:00Z");
}

TEST_F(TrailTest, WhatWasCountedAtTheStartIsInNoSummary) {
  const auto before = event();
  clock_.advance(1s);
  trail_.begin({{1000, 40}, {1001, 5}});
  trail_.denial(before);  // among the 40
  for (int i = 0; i < 6; ++i) trail_.denial(event());
  ASSERT_EQ(lines().size(), 3U);
  clock_.advance(1h);
  trail_.close_windows({{1000, 46}, {1001, 5}}, true);
  ASSERT_EQ(lines().size(), 4U);
  EXPECT_EQ(lines()[3].at("unmapped").at("uid").as_int64(), 1000);
  EXPECT_EQ(lines()[3].at("unmapped").at("suppressed").as_int64(), 4);  // six, two of them written
}

TEST_F(TrailTest, GrantSaysWhoGaveWhatUntilWhen) {
  trail_.granted(grant());
  EXPECT_EQ(message(), "root granted alice all GPUs until 2026-03-01T13:00:00Z: thesis");
  EXPECT_EQ(field("grant"), "g-7");
  EXPECT_EQ(field("granted_by_login_uid"), "1002");
  EXPECT_EQ(field("ends"), "2026-03-01T13:00:00Z");
}

TEST_F(TrailTest, GrantUntilATimeOfDayKeepsItWhenTheClockIsSet) {
  auto one = grant();
  one.end = clock_.wall() + 2h;
  clock_.step_wall(1h);
  trail_.granted(one);
  EXPECT_EQ(field("ends"), "2026-03-01T14:00:00Z");
}

TEST_F(TrailTest, GrantPermanentOfACgroupSaysSo) {
  grants::Grant grant;
  grant.subject.kind = grants::Subject::Kind::cgroup;
  grant.subject.path = "/job";
  grant.granted_by.name = "root";
  grant.gpus = {{0, ""}, {2, ""}};
  trail_.granted(grant);
  EXPECT_EQ(message(), "root granted cgroup:/job GPU 0, 2 until revoked");
  EXPECT_EQ(field("ends"), "never");
  EXPECT_EQ(field("uid"), "");
}

TEST_F(TrailTest, GrantByARuleReadsWell) {
  auto one = grant();
  one.granted_by.name = "auto-approval (staff)";
  trail_.granted(one);
  EXPECT_EQ(message(), "auto-approval (staff) granted alice all GPUs until 2026-03-01T13:00:00Z: thesis");
}

TEST_F(TrailTest, ExtensionSaysWhoAndUntilWhen) {
  trail_.extended(grant(), {0, "root", 1002});
  EXPECT_EQ(message(), "root extended g-7 of alice until 2026-03-01T13:00:00Z");
  EXPECT_EQ(field("kind"), "extend");
  EXPECT_EQ(field("extended_by"), "root");
  EXPECT_EQ(field("extended_by_login_uid"), "1002");
}

TEST_F(TrailTest, RevocationSaysWhoAndWhy) {
  auto one = grant();
  one.state = grants::State::revoked;
  one.ended = clock_.wall();
  one.ended_by = {0, "root", 1002};
  one.end_reason = "done";
  trail_.revoked(one);
  EXPECT_EQ(message(), "root revoked g-7 of alice: done");
  EXPECT_EQ(field("ended"), "2026-03-01T12:00:00Z");
  EXPECT_EQ(field("revoked_by"), "root");
  EXPECT_EQ(field("revoked_by_login_uid"), "1002");
  EXPECT_EQ(field("revoke_reason"), "done");
}

TEST_F(TrailTest, SuspensionWarnsAndItsEndDoesNot) {
  trail_.suspended(grant(), "uid 1000 is eve now");
  EXPECT_EQ(message(), "g-7 of alice is suspended: uid 1000 is eve now");
  EXPECT_EQ(field("why"), "uid 1000 is eve now");
  trail_.resumed(grant(), "uid 1000 is alice again");
  ASSERT_EQ(lines().size(), 2U);
  EXPECT_EQ(lines()[0].at("severity_id").as_int64(), 3);
  EXPECT_EQ(lines()[1].at("severity_id").as_int64(), 2);
  EXPECT_EQ(lines()[1].at("message").as_string(), "g-7 of alice is in force again: uid 1000 is alice again");
}

TEST_F(TrailTest, RequestSaysWhoWantsWhatForHowLong) {
  auto one = request();
  trail_.requested(one);
  EXPECT_EQ(message(), "alice requested all GPUs for 1h30m (r-3): thesis");
  EXPECT_EQ(field("request"), "r-3");
  EXPECT_EQ(field("duration_s"), "5400");
  EXPECT_EQ(field("login_uid"), "1001");
  one.gpus = "0,2";
  trail_.requested(one);
  EXPECT_EQ(lines().at(1).at("message").as_string(), "alice requested GPU 0,2 for 1h30m (r-3): thesis");
}

TEST_F(TrailTest, ApprovalSaysWhoAndNamesTheGrant) {
  auto one = request();
  one.state = grants::RequestState::approved;
  one.decided_by = {1002, "carol", 1002};
  one.grant = 7;
  trail_.answered(one);
  EXPECT_EQ(message(), "carol approved r-3 of alice");
  EXPECT_EQ(field("state"), "approved");
  EXPECT_EQ(field("answered_by"), "carol");
  EXPECT_EQ(field("answered_by_login_uid"), "1002");
  EXPECT_EQ(field("grant"), "g-7");
}

TEST_F(TrailTest, AnswersOfOtherKindsReadWell) {
  auto one = request();
  one.state = grants::RequestState::approved;
  trail_.answered(one);
  one.state = grants::RequestState::denied;
  one.decided_by = {1002, "carol", 1002};
  one.answer = "reserved";
  trail_.answered(one);
  one.state = grants::RequestState::lapsed;
  trail_.answered(one);
  std::vector<std::string> messages;
  for (const auto& line : lines()) messages.emplace_back(line.at("message").as_string());
  EXPECT_THAT(messages, ElementsAre("r-3 of alice was approved by a rule of the configuration",
                                    "carol denied r-3 of alice: reserved",
                                    "r-3 of alice has lapsed: nobody answered it in time"));
  EXPECT_EQ(lines()[1].at("unmapped").at("answer").as_string(), "reserved");
}

TEST_F(TrailTest, NoticeSaysWhoWasToldWhatAndHow) {
  trail_.noticed(1000, "ds01: one\nFor more: two", "terminal");
  trail_.noticed(1001, "ds01: one", "kept");
  EXPECT_EQ(message(), "alice was told on a terminal: ds01: one For more: two");
  EXPECT_EQ(lines().at(1).at("message").as_string(), "a notice waits for bob: ds01: one");
  EXPECT_EQ(lines().at(1).at("unmapped").at("how").as_string(), "kept");
}

TEST_F(TrailTest, DriftWarns) {
  trail_.drifted("g-7 of alice was not in force; now it is");
  EXPECT_EQ(message(), "g-7 of alice was not in force; now it is");
  EXPECT_EQ(lines().at(0).at("severity_id").as_int64(), 3);
}

TEST_F(TrailTest, HeldSaysWhoHoldsWhatAndWhy) {
  holders::Holder holder;
  holder.pid = 4711;
  holder.uid = 1000;
  holder.comm = "python3";
  holder.devices = {{1, "gpu0", true, DS01_BY_USER_GRANT, 7}, {2, "gpu1", false, DS01_GRANT_NOT_COVERING, 7}};
  holder.fds = 2;
  trail_.held(std::vector<holders::Holder>{holder});
  EXPECT_EQ(message(),
            "alice has gpu0, gpu1 open or mapped, and would not be let in now (python3, pid 4711): the grant does not "
            "cover this device");
  EXPECT_EQ(field("grant"), "g-7");
  EXPECT_EQ(field("fds"), "2");
  EXPECT_EQ(lines().at(0).at("actor").at("process").at("name").as_string(), "python3");
}

TEST_F(TrailTest, HeldByManyIsSummedUp) {
  holders::Holder holder;
  holder.devices = {{1, "gpu0", false, DS01_NO_GRANT, 0}};
  trail_.held(std::vector<holders::Holder>{});
  EXPECT_THAT(lines(), IsEmpty());
  trail_.held(std::vector<holders::Holder>(23, holder));
  ASSERT_EQ(lines().size(), 21U);
  EXPECT_EQ(lines().back().at("message").as_string(),
            "3 more processes hold a device and would not be let in now: ds01ctl holders");
}

TEST_F(TrailTest, StopSaysThatTheGateStaysClosed) {
  trail_.stopped();
  EXPECT_EQ(message(), "ds01d stops; what is in force stays in force");
}

TEST_F(TrailTest, EntriesHaveTheirKinds) {
  trail_.revoked(grant());
  trail_.expired(grant());
  trail_.mode_changed("set the gpu gate to full", {0, "root", std::nullopt});
  trail_.refused(1001, 5, "POST /v1/grants needs an admin");
  trail_.started("ds01d runs");
  trail_.reloaded("configuration loaded", Level::info);
  trail_.lost(3);
  trail_.stopped();
  trail_.extended(grant(), {});
  trail_.suspended(grant(), "gone");
  trail_.resumed(grant(), "back");
  trail_.requested(request());
  trail_.answered(request());
  trail_.noticed(1000, "text", "kept");
  trail_.drifted("1 missing");
  std::vector<std::string> kinds;
  for (const auto& line : lines()) kinds.emplace_back(line.at("unmapped").at("kind").as_string());
  EXPECT_THAT(kinds, ElementsAre("revoke", "expiry", "mode", "refused", "start", "reload", "lost", "stop", "extend",
                                 "suspend", "resume", "request", "answer", "notice", "drift"));
  EXPECT_EQ(message(), "ds01d revoked g-7 of alice");  // nobody is said to have done it
  EXPECT_EQ(lines()[1].at("message").as_string(), "g-7 of alice has ended");
  EXPECT_EQ(lines()[3].at("message").as_string(), "bob (pid 5) was refused: POST /v1/grants needs an admin");
  EXPECT_EQ(trail_.lines_lost(), 0U);
}

// Whoever is refused can be refused again a thousand times a second.
TEST_F(TrailTest, RefusalsOverTheLimitBecomeOneExactSummary) {
  for (int i = 0; i < 20; ++i) trail_.refused(1001, 5, "POST /v1/grants needs an admin");
  trail_.denial(event());  // denials have a limit of their own
  ASSERT_EQ(lines().size(), 4U);
  clock_.advance(1h);
  trail_.close_windows({}, false);
  ASSERT_EQ(lines().size(), 5U);
  EXPECT_EQ(lines()[4].at("unmapped").at("uid").as_int64(), 1001);
  EXPECT_EQ(lines()[4].at("unmapped").at("suppressed").as_int64(), 17);
}

TEST_F(TrailTest, FileUnwritableIsReportedOnceAndCounted) {
  settings_.json = folder_.path() / "absent/audit.jsonl";
  trail_.configure(settings_);
  EXPECT_EQ(losses_.size(), 1U);  // it cannot be opened
  for (int i = 0; i < 5; ++i) trail_.started("x");
  EXPECT_EQ(losses_.size(), 2U);  // and one line for all that were lost
  EXPECT_EQ(trail_.lines_lost(), 5U);
  folder_.make("absent");
  trail_.reopen();
  trail_.started("x");
  EXPECT_EQ(trail_.lines_lost(), 5U);
  EXPECT_EQ(lines("absent/audit.jsonl").size(), 1U);
}

TEST_F(TrailTest, ReopenFollowsAFileMovedAway) {
  trail_.started("x");
  std::filesystem::rename(folder_.path() / "audit.jsonl", folder_.path() / "audit.jsonl.1");
  trail_.reopen();
  trail_.stopped();
  EXPECT_EQ(lines("audit.jsonl.1").size(), 1U);
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(TrailTest, WithoutSinksNothingIsLost) {
  trail_.configure(nothing());
  trail_.started("x");
  trail_.reopen();
  EXPECT_THAT(lines(), IsEmpty());
  EXPECT_EQ(trail_.lines_lost(), 0U);
  EXPECT_THAT(losses_, IsEmpty());
}

TEST(Explain, DenialsAndTheRest) {
  EXPECT_EQ(explain(DS01_BY_DENY_RULE), "denied by configuration");
  EXPECT_EQ(explain(DS01_NO_GRANT), "no grant");
  EXPECT_EQ(explain(DS01_GRANT_ENDED), "the grant has ended");
  EXPECT_EQ(explain(DS01_GRANT_NOT_COVERING), "the grant does not cover this device");
  EXPECT_THAT(explain(DS01_IN_CONTAINER), HasSubstr("container"));
  EXPECT_EQ(explain(DS01_BY_HOST_ROOT), "root on the host");
}

}  // namespace
}  // namespace ds01::audit
