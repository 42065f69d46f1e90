// SPDX-License-Identifier: Apache-2.0
// What people read. Nobody has a terminal here, so every text is kept.
#include "notify/announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "fakes.h"

namespace ds01::notify {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class AnnouncerTest : public ::testing::Test {
 protected:
  // g-7 of alice, for four hours.
  grants::Grant grant() const {
    grants::Grant grant;
    grant.number = 7;
    grant.subject.uid = 1000;
    grant.subject.name = "alice";
    grant.end = clock_.boot() + 4h;
    grant.term = 4h;
    grant.granted_by = {0, "root", 1002};
    return grant;
  }
  static grants::Request request() {
    grants::Request request;
    request.number = 3;
    request.who = {1000, "alice", 1000};
    request.duration = 24h;
    request.gpus = "all";
    request.reason = "thesis";
    return request;
  }
  // The only text, or all of them.
  std::string told() const {
    std::string all;
    for (const auto& [uid, text] : told_) all += text;
    return all;
  }
  std::string ending_in(End end) {
    auto one = grant();
    one.end = end;
    told_.clear();
    announcer_.ending(one);
    return told();
  }

  fake::Folder folder_;
  fake::Clock clock_;
  database::Database database_{folder_.path() / "ds01.db"};
  Notifier notifier_{{database_, clock_, folder_.path() / "dev", folder_.path() / "utmp",
                      [](uid_t) { return std::vector<std::string>{}; }}};
  std::vector<std::pair<uid_t, std::string>> told_;
  std::vector<Result<Delivery>> deliveries_;
  Announcer announcer_{
      {notifier_, clock_, [this](uid_t uid, const std::string& text, const Result<Delivery>& delivery) {
         told_.emplace_back(uid, text);
         deliveries_.push_back(delivery);
       }}};
};

TEST_F(AnnouncerTest, WarningSaysHowLongUntilWhenAndWhatToType) {
  EXPECT_EQ(ending_in(clock_.boot() + 10min),
            "ds01: your GPU access (g-7) ends in 10m, at 2026-03-01T12:10:00Z. "
            "For more: ds01ctl request 4h --reason TEXT");
  EXPECT_THAT(told_, ElementsAre(Pair(1000U, told())));
  EXPECT_EQ(notifier_.pending(1000).value().at(0).text, told());
}

TEST_F(AnnouncerTest, WarningOfATimeOfDayFollowsTheWallClock) {
  const End end = clock_.wall() + 2h;
  clock_.step_wall(1h);
  EXPECT_EQ(ending_in(end),
            "ds01: your GPU access (g-7) ends in 1h, at 2026-03-01T14:00:00Z. "
            "For more: ds01ctl request 4h --reason TEXT");
}

TEST_F(AnnouncerTest, TimeLeftIsRoundedUp) {
  const std::pair<std::chrono::nanoseconds, std::string> table[] = {
      {1h - 1ms, "in 1h,"},      {1h - 30s, "in 1h,"}, {1h + 1s, "in 1h1m,"}, {10min - 1ms, "in 10m,"},
      {9min + 58s, "in 9m58s,"}, {1ms, "in 1s,"},      {0s, "in 0s,"}};
  for (const auto& [left, text] : table)
    EXPECT_NE(ending_in(clock_.boot() + left).find(text), std::string::npos) << told();
}

TEST_F(AnnouncerTest, GrantThatNeverEndsIsNotWarnedOf) {
  EXPECT_EQ(ending_in(Never{}), "");
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(AnnouncerTest, EndSaysWhatToType) {
  auto one = grant();
  one.state = grants::State::expired;
  announcer_.ended(one);
  EXPECT_EQ(told(), "ds01: your GPU access (g-7) has ended. For more: ds01ctl request 4h --reason TEXT");
}

TEST_F(AnnouncerTest, RevocationSaysWhoAndWhy) {
  auto one = grant();
  one.state = grants::State::revoked;
  one.ended_by = {0, "carol", std::nullopt};
  one.end_reason = "needed for the demo";
  announcer_.ended(one);
  EXPECT_EQ(told(),
            "ds01: your GPU access (g-7) was revoked by carol: needed for the demo\n"
            "For more: ds01ctl request 4h --reason TEXT");
  told_.clear();
  one.end_reason.clear();
  one.term = 0s;  // it was permanent
  announcer_.ended(one);
  EXPECT_EQ(told(), "ds01: your GPU access (g-7) was revoked by carol\nFor more: ds01ctl request 24h --reason TEXT");
}

TEST_F(AnnouncerTest, ApprovalSaysWhoWhatAndUntilWhen) {
  auto one = request();
  one.state = grants::RequestState::approved;
  one.decided_by = {1002, "carol", 1002};
  announcer_.approved(one, grant());
  EXPECT_EQ(told(), "ds01: your request r-3 was approved by carol: all GPUs until 2026-03-01T16:00:00Z");
  EXPECT_EQ(told_.at(0).first, 1000U);
  told_.clear();
  auto two = grant();
  two.end = Never{};
  two.gpus = {{0, ""}, {2, ""}};
  announcer_.approved(one, two);
  EXPECT_EQ(told(), "ds01: your request r-3 was approved by carol: GPU 0, 2 until revoked");
}

TEST_F(AnnouncerTest, ApprovalByARuleNamesNobody) {
  auto one = request();
  one.state = grants::RequestState::approved;
  auto two = grant();
  two.granted_by.name = "auto-approval (staff)";
  announcer_.approved(one, two);
  EXPECT_EQ(told(), "ds01: your request r-3 was approved automatically: all GPUs until 2026-03-01T16:00:00Z");
}

TEST_F(AnnouncerTest, DenialSaysWhoAndWhy) {
  auto one = request();
  one.state = grants::RequestState::denied;
  one.decided_by = {1002, "carol", 1002};
  one.answer = "the GPUs are reserved";
  announcer_.denied(one);
  EXPECT_EQ(told(), "ds01: your request r-3 was denied by carol: the GPUs are reserved");
}

TEST_F(AnnouncerTest, LapseSaysWhatToType) {
  auto one = request();
  one.state = grants::RequestState::lapsed;
  announcer_.lapsed(one);
  EXPECT_EQ(told(),
            "ds01: your request r-3 has lapsed: nobody answered it in time. "
            "To ask again: ds01ctl request 1d --reason TEXT");
}

// A name service or an admin's reason must not be able to speak in ds01's name.
TEST_F(AnnouncerTest, ReasonCannotBeginALine) {
  auto one = request();
  one.decided_by = {1002, "ca\nrol", 1002};
  one.answer = "no\nds01: call 555 \x1b[2J";
  announcer_.denied(one);
  EXPECT_EQ(told(), "ds01: your request r-3 was denied by ca\\x0arol: no\\x0ads01: call 555 \\x1b[2J");
}

TEST_F(AnnouncerTest, GrantOfACgroupIsNobodys) {
  auto one = grant();
  one.subject.kind = grants::Subject::Kind::cgroup;
  one.subject.path = "/job";
  announcer_.ending(one);
  announcer_.ended(one);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(AnnouncerTest, DeliveryIsHandedOn) {
  announcer_.denied(request());
  ASSERT_EQ(deliveries_.size(), 1U);
  EXPECT_EQ(deliveries_[0], Delivery::kept);
}

}  // namespace
}  // namespace ds01::notify
