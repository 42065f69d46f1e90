// SPDX-License-Identifier: Apache-2.0
#include "core/deadline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace ds01 {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeadlineTest : public ::testing::Test {
 protected:
  End boot(std::chrono::nanoseconds from_now) const { return clock_.boot() + from_now; }
  End wall(std::chrono::nanoseconds from_now) const { return clock_.wall() + from_now; }

  fake::Clock clock_;
  Deadlines deadlines_;
};

TEST_F(DeadlineTest, TimeLeftIsNeverNegative) {
  EXPECT_EQ(time_left(Never{}, clock_), std::nullopt);
  for (const auto& end : {boot(2s), wall(2s)}) EXPECT_EQ(time_left(end, clock_), 2s);
  for (const auto& end : {boot(-2s), wall(-2s), boot(0s)}) EXPECT_EQ(time_left(end, clock_), 0s);
}

TEST_F(DeadlineTest, EndsAtTheMomentItself) {
  EXPECT_FALSE(has_ended(Never{}, clock_));
  EXPECT_FALSE(has_ended(boot(1ns), clock_));
  EXPECT_FALSE(has_ended(wall(1ns), clock_));
  EXPECT_TRUE(has_ended(boot(0ns), clock_));
  EXPECT_TRUE(has_ended(wall(0ns), clock_));
}

TEST_F(DeadlineTest, EachEndFollowsItsClock) {
  const auto duration = boot(1h);
  const auto until = wall(1h);
  clock_.step_wall(2h);
  EXPECT_FALSE(has_ended(duration, clock_));
  EXPECT_TRUE(has_ended(until, clock_));
  clock_.step_wall(-24h);
  EXPECT_EQ(time_left(until, clock_), 23h);
  clock_.advance(1h);
  EXPECT_TRUE(has_ended(duration, clock_));
}

TEST_F(DeadlineTest, SameMomentOnTheOtherClock) {
  EXPECT_EQ(on_wall(boot(1h), clock_), clock_.wall() + 1h);
  EXPECT_EQ(on_wall(wall(1h), clock_), clock_.wall() + 1h);
  EXPECT_EQ(on_boot(wall(1h), clock_), clock_.boot() + 1h);
  EXPECT_EQ(on_boot(boot(1h), clock_), clock_.boot() + 1h);
  EXPECT_EQ(on_boot(Never{}, clock_), std::nullopt);
  EXPECT_EQ(on_wall(Never{}, clock_), std::nullopt);
}

TEST_F(DeadlineTest, ShiftedStaysOnItsClock) {
  EXPECT_EQ(shifted(boot(1h), 5min), boot(1h + 5min));
  EXPECT_EQ(shifted(wall(1h), -5min), wall(55min));
  EXPECT_EQ(shifted(Never{}, 1h), End(Never{}));
}

TEST_F(DeadlineTest, OrderIsAcrossClocks) {
  for (const auto& [early, late] :
       {std::pair(boot(1h), boot(2h)), std::pair(wall(1h), wall(2h)), std::pair(boot(1h), wall(2h)),
        std::pair(wall(1h), boot(2h)), std::pair(boot(1h), End(Never{})), std::pair(wall(1h), End(Never{}))}) {
    EXPECT_TRUE(ends_before(early, late, clock_));
    EXPECT_FALSE(ends_before(late, early, clock_));
    EXPECT_FALSE(ends_before(early, early, clock_));
  }
  EXPECT_FALSE(ends_before(Never{}, Never{}, clock_));
}

TEST_F(DeadlineTest, RecordReadsBackInTheSameBoot) {
  for (const auto& end : {boot(1h), wall(1h), End(Never{})})
    EXPECT_EQ(from_record(to_record(end, clock_), clock_), end);
}

TEST_F(DeadlineTest, RecordOfAnotherBootCountsByTheAbsoluteTime) {
  const auto absolute = clock_.wall() + 1h;
  const auto record = to_record(boot(1h), clock_);
  clock_.reboot();
  EXPECT_EQ(from_record(record, clock_), End(absolute));
  EXPECT_EQ(from_record(to_record(Never{}, clock_), clock_), End(Never{}));
}

TEST_F(DeadlineTest, RecordOfABootWithoutAName) {
  auto record = to_record(boot(1h), clock_);
  record.boot_id = "";
  EXPECT_EQ(from_record(record, clock_), wall(1h));
}

TEST_F(DeadlineTest, NextIsTheFirstOfBothClocks) {
  EXPECT_EQ(deadlines_.next(clock_), std::nullopt);
  deadlines_.set(1, wall(3h));
  EXPECT_EQ(deadlines_.next(clock_), clock_.boot() + 3h);
  deadlines_.set(2, boot(2h));
  EXPECT_EQ(deadlines_.next(clock_), clock_.boot() + 2h);
  clock_.step_wall(2h);
  EXPECT_EQ(deadlines_.next(clock_), clock_.boot() + 1h);
}

TEST_F(DeadlineTest, DueAreTheEarliestUpToTheLimit) {
  deadlines_.set(1, boot(3h));
  deadlines_.set(2, boot(1h));
  deadlines_.set(3, wall(2h));
  deadlines_.set(4, boot(5h));
  EXPECT_THAT(deadlines_.due(clock_, 10), IsEmpty());
  clock_.advance(3h);
  EXPECT_THAT(deadlines_.due(clock_, 10), ElementsAre(2, 1, 3));
  EXPECT_THAT(deadlines_.due(clock_, 1), ElementsAre(2));
  deadlines_.remove(2);
  EXPECT_THAT(deadlines_.due(clock_, 10), ElementsAre(1, 3));
}

TEST_F(DeadlineTest, SetAgainMoves) {
  deadlines_.set(1, boot(1h));
  deadlines_.set(1, wall(2h));
  EXPECT_EQ(deadlines_.next(clock_), clock_.boot() + 2h);
  deadlines_.set(1, Never{});
  deadlines_.remove(7);
  EXPECT_EQ(deadlines_.next(clock_), std::nullopt);
}

TEST(SystemClock, BootIdIsThatOfTheKernel) {
  const SystemClock clock;
  EXPECT_EQ(clock.boot_id().size(), 36U);
  EXPECT_EQ(clock.boot_id(), SystemClock().boot_id());
}

}  // namespace
}  // namespace ds01
