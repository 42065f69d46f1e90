// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "core/clock.h"
#include "core/fd.h"
#include "core/files.h"
#include "core/result.h"
#include "core/text.h"

namespace ds01 {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- result

Result<int> positive(int n) {
  if (n <= 0) return fail(ErrorCode::invalid, "not positive");
  return n;
}

Result<int> sum(int a, int b) {
  DS01_TRY(const int first, positive(a));
  DS01_TRY(const int second, positive(b));
  return first + second;
}

Status both_positive(int a, int b) {
  DS01_CHECK(positive(a));
  DS01_CHECK(positive(b));
  return {};
}

TEST(Try, BindsValues) { EXPECT_EQ(sum(1, 2), 3); }

TEST(Try, ReturnsTheFirstError) {
  const auto result = sum(1, -2);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid);
  EXPECT_EQ(result.error().message, "not positive");
}

TEST(Check, PassesSuccessAndReturnsErrors) {
  EXPECT_TRUE(both_positive(1, 2));
  EXPECT_FALSE(both_positive(1, 0));
}

TEST(FailErrno, NamesTheThingAndTheReason) {
  errno = ENOENT;
  const Status from_errno = fail_errno("/nowhere");
  EXPECT_EQ(from_errno.error().message, "/nowhere: No such file or directory");
  EXPECT_EQ(from_errno.error().code, ErrorCode::system);
  const Status given = fail_errno("/nowhere", EACCES);
  EXPECT_EQ(given.error().message, "/nowhere: Permission denied");
}

// ---- fd

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST(Fd, ClosesAtEndOfScope) {
  int raw = -1;
  {
    const Fd fd(open_null());
    raw = fd.get();
    ASSERT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(Fd, MoveLeavesTheSourceEmpty) {
  Fd first(open_null());
  const int raw = first.get();
  const Fd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): emptiness is what moving promises
  EXPECT_EQ(second.get(), raw);
  EXPECT_TRUE(is_open(raw));
}

TEST(Fd, MoveAssignmentClosesTheOldOne) {
  Fd target(open_null());
  const int old = target.get();
  Fd source(open_null());
  const int kept = source.get();
  target = std::move(source);
  EXPECT_FALSE(is_open(old));
  EXPECT_EQ(target.get(), kept);
  EXPECT_TRUE(is_open(kept));
}

TEST(Fd, SelfMoveKeepsTheDescriptor) {
  Fd fd(open_null());
  const int raw = fd.get();
  Fd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), raw);
  EXPECT_TRUE(is_open(raw));
}

TEST(Fd, ReleaseGivesUpOwnership) {
  int raw = -1;
  {
    Fd fd(open_null());
    raw = fd.release();
    EXPECT_FALSE(fd);
  }
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

TEST(Fd, EmptyIsFalse) { EXPECT_FALSE(Fd()); }

// ---- files

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "ds01-core-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
  }
  ~Files() override { std::filesystem::remove_all(dir_); }

  std::filesystem::path write(std::string_view text) {
    const auto path = dir_ / "file";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::filesystem::path dir_;
};

TEST_F(Files, ReadFileReturnsEveryByte) {
  const std::string text = "a\0b\n"s + std::string(10000, 'x');
  EXPECT_EQ(read_file(write(text), 20000), text);
}

TEST_F(Files, ReadFileTakesExactlyTheLimit) { EXPECT_EQ(read_file(write("12345"), 5), "12345"); }

TEST_F(Files, ReadFileRefusesOneByteMore) {
  const auto path = write("123456");
  const auto text = read_file(path, 5);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::too_large);
  EXPECT_EQ(text.error().message, path.string() + ": larger than 5 bytes");
}

TEST_F(Files, ReadFileOfEndlessDeviceStopsAtTheLimit) {
  const auto text = read_file("/dev/zero", 10000);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::too_large);
}

TEST_F(Files, ReadFileNamesTheMissingFile) {
  const auto text = read_file(dir_ / "absent", 5);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::not_found);
  EXPECT_EQ(text.error().message, (dir_ / "absent").string() + ": no such file");
}

TEST_F(Files, ReadFileOfDirectoryFails) {
  const auto text = read_file(dir_, 5);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, dir_.string() + ": Is a directory");
}

TEST_F(Files, WriteAllSurvivesShortWrites) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const std::string data(1 << 20, 'd');  // a pipe holds 64 KiB, so one write cannot take it all
  std::jthread writing([&] {
    EXPECT_TRUE(write_all(writer.get(), data, "pipe"));
    writer.reset();
  });
  std::string received;
  char buffer[65536];
  for (ssize_t n; (n = ::read(reader.get(), buffer, sizeof buffer)) > 0;)
    received.append(buffer, static_cast<std::size_t>(n));
  EXPECT_EQ(received, data);
}

TEST_F(Files, WriteAllReportsTheError) {
  const Fd read_only(open_null());
  const auto status = write_all(read_only.get(), "x", "/dev/null");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "/dev/null: Bad file descriptor");
}

TEST(Split, LeavesEmptyPartsOut) {
  EXPECT_THAT(split("/a//b/", '/'), ElementsAre("a", "b"));
  EXPECT_THAT(split("a", '/'), ElementsAre("a"));
  EXPECT_THAT(split("", '/'), IsEmpty());
  EXPECT_THAT(split("//", '/'), IsEmpty());
}

TEST(ParseNumber, ReadsWholeNumbers) {
  EXPECT_EQ(parse_number("0"), 0U);
  EXPECT_EQ(parse_number("18446744073709551615"), std::numeric_limits<unsigned long long>::max());
}

TEST(ParseNumber, RefusesEverythingElse) {
  for (const auto text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "18446744073709551616", "one"}) {
    const auto number = parse_number(text);
    ASSERT_FALSE(number) << text;
    EXPECT_EQ(number.error().message, "'"s + text + "' is not a whole number");
  }
}

// ---- text

TEST(Escaped, KeepsPrintableText) { EXPECT_EQ(escaped("größe 1"), "größe 1"); }

TEST(Escaped, DisarmsControlCharacters) {
  EXPECT_EQ(escaped("a\nb\x1b[2J\0c"sv), "a\\nb\\x1b[2J\\x00c");
  EXPECT_EQ(escaped("\xff"), "\\xff");
}

TEST(Escaped, CutsLongText) { EXPECT_EQ(escaped(std::string(1000, 'x')), std::string(80, 'x') + "…"); }

TEST(InQuotes, Quotes) { EXPECT_EQ(in_quotes("a\tb"), "'a\\tb'"); }

// ---- clock

class FakeClock final : public Clock {
 public:
  BootTime boot() const override { return BootTime(100s); }
  WallTime wall() const override { return WallTime(1'000'000s); }
  std::string boot_id() const override { return "boot"; }
};

TEST(Clock, ConvertsBothWays) {
  const FakeClock clock;
  EXPECT_EQ(clock.to_wall(BootTime(160s)), WallTime(1'000'060s));
  EXPECT_EQ(clock.to_boot(WallTime(999'990s)), BootTime(90s));
}

// Each look takes 1 us. After the `late`-th one this thread is held up for 5 s.
class HeldUpClock final : public Clock {
 public:
  explicit HeldUpClock(int late) : late_(late) {}
  BootTime boot() const override { return BootTime(look()); }
  WallTime wall() const override { return WallTime(1000s + look()); }
  std::string boot_id() const override { return "boot"; }

 private:
  std::chrono::nanoseconds look() const {
    const auto now = now_;
    now_ += ++looks_ == late_ ? 5s : 1us;
    return now;
  }
  int late_;
  mutable int looks_ = 0;
  mutable std::chrono::nanoseconds now_{0};
};

TEST(Clock, TheTwoClocksAreReadAtOnce) {
  for (int late = 1; late < 8; ++late) {
    const HeldUpClock clock(late);
    EXPECT_LE(std::chrono::abs(clock.wall_minus_boot() - 1000s), 2us) << late;
  }
}

TEST(SystemClock, ReadsTheTwoKernelClocks) {
  const SystemClock clock;
  const auto read = [](clockid_t id) {
    timespec now{};
    ::clock_gettime(id, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  const auto boot_before = read(CLOCK_BOOTTIME);
  const auto boot = clock.boot().time_since_epoch();
  EXPECT_LE(boot_before, boot);
  EXPECT_LE(boot, read(CLOCK_BOOTTIME));
  // The wall clock may be stepped between two reads; only its epoch is certain.
  EXPECT_LT(std::chrono::abs(clock.wall().time_since_epoch() - read(CLOCK_REALTIME)), 1h);
}

TEST(FormatUtc, IsRfc3339InWholeSeconds) {
  EXPECT_EQ(format_utc(WallTime(0s)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_utc(WallTime(1772366400s)), "2026-03-01T12:00:00Z");
  EXPECT_EQ(format_utc(WallTime(1709208000s + 999'999'999ns)), "2024-02-29T12:00:00Z");
}

TEST(FormatUtc, RoundsDownBeforeTheEpochToo) { EXPECT_EQ(format_utc(WallTime(-1ns)), "1969-12-31T23:59:59Z"); }

TEST(FormatUtc, HoldsTheWholeRangeOfTheType) {
  EXPECT_EQ(format_utc(WallTime::max()), "2262-04-11T23:47:16Z");
  EXPECT_EQ(format_utc(WallTime::min()), "1677-09-21T00:12:43Z");
}

struct GoodDuration {
  std::string_view text;
  std::chrono::seconds value;
};

TEST(ParseDuration, ReadsEveryUnitAndCombination) {
  const GoodDuration table[] = {
      {"1s", 1s},
      {"90m", 90min},
      {"24h", 24h},
      {"7d", 7 * 24h},
      {"2w", 14 * 24h},
      {"1d12h", 36h},
      {"12h1d", 36h},
      {"1h30m5s", 5405s},
      {"1w1d1h1m1s", 694861s},
      {"0d1h", 1h},
      {"0001m", 1min},
      {"3600s", 1h},
      {"36525d", 36525 * 24h},
  };
  for (const auto& row : table) EXPECT_EQ(parse_duration(row.text), row.value) << row.text;
}

struct Bad {
  std::string_view text;
  std::string_view reason;
};

TEST(ParseDuration, RefusesEverythingElse) {
  constexpr std::string_view kMalformed = "is not a duration; write numbers with s, m, h, d or w, such as 90m or 1d12h";
  constexpr std::string_view kNoUnit =
      "has a number without a unit; write s, m, h, d or w after it, such as 90m or 1d12h";
  constexpr std::string_view kZero = "is no time at all; write a duration above zero";
  constexpr std::string_view kTooLong = "is longer than 100 years";
  const Bad table[] = {
      {"", kMalformed},
      {"h", kMalformed},
      {"-1h", kMalformed},
      {"+1h", kMalformed},
      {"1 h", kMalformed},
      {" 1h", kMalformed},
      {"1h ", kMalformed},
      {"1h\n", kMalformed},
      {"1.5h", kMalformed},
      {"1,5h", kMalformed},
      {"1e3s", kMalformed},
      {"0x10s", kMalformed},
      {"1H", kMalformed},
      {"1y", kMalformed},
      {"1ms", kMalformed},
      {"1hh", kMalformed},
      {"1h-1m", kMalformed},
      {"permanent", kMalformed},
      {"１h", kMalformed},  // a full-width digit
      {"1һ", kMalformed},   // a Cyrillic letter that looks like h
      {"1h\0"sv, kMalformed},
      {"\0"sv, kMalformed},
      {"1\0h"sv, kMalformed},
      {"90", kNoUnit},
      {"0", kNoUnit},
      {"1h30", kNoUnit},
      {"0m", kZero},
      {"0w0d0h0m0s", kZero},
      {"1h1h", "names the unit h twice"},
      {"1h1m1h", "names the unit h twice"},
      {"0s1s", "names the unit s twice"},
      {"36526d", kTooLong},
      {"36525d1s", kTooLong},
      {"1s36525d", kTooLong},
      {"999999999999w", kTooLong},
      {"9223372036854775807s", kTooLong},
      {"9223372036854775808s", kTooLong},
      {"99999999999999999999999999999999s", kTooLong},
  };
  for (const auto& row : table) {
    const auto result = parse_duration(row.text);
    ASSERT_FALSE(result) << in_quotes(row.text);
    EXPECT_EQ(result.error().code, ErrorCode::invalid);
    EXPECT_EQ(result.error().message, in_quotes(row.text) + " " + std::string(row.reason));
  }
}

TEST(FormatDuration, IsExactAndShort) {
  EXPECT_EQ(format_duration(0s), "0s");
  EXPECT_EQ(format_duration(59s), "59s");
  EXPECT_EQ(format_duration(5400s), "1h30m");
  EXPECT_EQ(format_duration(24h), "1d");
  EXPECT_EQ(format_duration(7 * 24h), "7d");
  EXPECT_EQ(format_duration(36h + 1s), "1d12h1s");
  EXPECT_EQ(format_duration(-90s), "-1m30s");
}

TEST(FormatDuration, HoldsTheWholeRangeOfTheType) {
  EXPECT_EQ(format_duration(std::chrono::seconds::max()), "106751991167300d15h30m7s");
  EXPECT_EQ(format_duration(std::chrono::seconds::min()), "-106751991167300d15h30m8s");
}

TEST(FormatDuration, IsReadBackByParseDuration) {
  for (const auto value : {1s, 61s, 3600s, 86399s, 604800s, 3155760000s})
    EXPECT_EQ(parse_duration(format_duration(value)), value);
}

// Central Europe's rule, spelled out so that no time zone database is needed: the clocks go forward over 02:00 to 03:00
// on 2026-03-29 and show 02:00 to 03:00 twice on 2026-10-25.
class ParseTime : public ::testing::Test {
 protected:
  ParseTime() {
    if (const char* old = std::getenv("TZ")) old_ = old;
    set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
  }
  ~ParseTime() override {
    if (old_)
      set_zone(old_->c_str());
    else
      ::unsetenv("TZ");
    ::tzset();
  }

  static void set_zone(const char* zone) {
    ::setenv("TZ", zone, 1);
    ::tzset();
  }

  static std::string utc(std::string_view text) {
    const auto time = parse_time(text);
    return time ? format_utc(*time) : time.error().message;
  }

  std::optional<std::string> old_;
};

TEST_F(ParseTime, ReadsRfc3339) {
  EXPECT_EQ(utc("2026-03-01T12:00:00Z"), "2026-03-01T12:00:00Z");
  EXPECT_EQ(utc("2026-03-01t12:00:00z"), "2026-03-01T12:00:00Z");
  EXPECT_EQ(utc("2026-03-01T12:00:00+01:00"), "2026-03-01T11:00:00Z");
  EXPECT_EQ(utc("2026-03-01T00:30:00+05:45"), "2026-02-28T18:45:00Z");
  EXPECT_EQ(utc("2026-12-31T23:00:00-02:30"), "2027-01-01T01:30:00Z");
  EXPECT_EQ(utc("2024-02-29T23:59:59-00:00"), "2024-02-29T23:59:59Z");
}

TEST_F(ParseTime, KeepsFractions) {
  EXPECT_EQ(parse_time("1970-01-01T00:00:01.5Z"), WallTime(1500ms));
  EXPECT_EQ(parse_time("1970-01-01T00:00:01.000000001Z"), WallTime(1s + 1ns));
}

TEST_F(ParseTime, ReadsLocalTime) {
  EXPECT_EQ(utc("2026-03-01"), "2026-02-28T23:00:00Z");
  EXPECT_EQ(utc("2026-03-01 18:00"), "2026-03-01T17:00:00Z");
  EXPECT_EQ(utc("2026-07-01 18:00"), "2026-07-01T16:00:00Z");
}

TEST_F(ParseTime, FollowsTheZone) {
  set_zone("EST5");
  EXPECT_EQ(utc("2026-03-01 18:00"), "2026-03-01T23:00:00Z");
}

TEST_F(ParseTime, RefusesTheHourThatTheClocksSkip) {
  EXPECT_EQ(utc("2026-03-29 01:59"), "2026-03-29T00:59:00Z");
  for (const auto text : {"2026-03-29 02:00", "2026-03-29 02:59"})
    EXPECT_EQ(utc(text), "'"s + text + "' does not exist in local time: the clocks go forward over it");
  EXPECT_EQ(utc("2026-03-29 03:00"), "2026-03-29T01:00:00Z");
}

TEST_F(ParseTime, TakesTheFirstOfARepeatedHour) {
  EXPECT_EQ(utc("2026-10-25 02:30"), "2026-10-25T00:30:00Z");
  EXPECT_EQ(utc("2026-10-25 03:00"), "2026-10-25T02:00:00Z");
}

TEST_F(ParseTime, RefusesImpossibleTimes) {
  constexpr std::string_view kNoDate = "is a date that the calendar does not have";
  constexpr std::string_view kNoClock = "is a time of day that no clock shows";
  constexpr std::string_view kNoYear = "is outside the years 1970 to 2199";
  const Bad table[] = {
      {"2026-02-30", kNoDate},
      {"2025-02-29", kNoDate},
      {"2100-02-29", kNoDate},
      {"2026-04-31", kNoDate},
      {"2026-13-01", kNoDate},
      {"2026-00-01", kNoDate},
      {"2026-01-00", kNoDate},
      {"2026-02-30T00:00:00Z", kNoDate},
      {"2026-01-01 24:00", kNoClock},
      {"2026-01-01 12:60", kNoClock},
      {"2016-12-31T23:59:60Z", kNoClock},
      {"1969-12-31", kNoYear},
      {"2200-01-01", kNoYear},
      {"0000-01-01", kNoYear},
      {"9999-12-31T23:59:59Z", kNoYear},
  };
  for (const auto& row : table) EXPECT_EQ(utc(row.text), in_quotes(row.text) + " " + std::string(row.reason));
}

TEST_F(ParseTime, RefusesEverythingElse) {
  const std::string_view table[] = {
      "",
      "tomorrow",
      "12:00",
      "2026",
      "2026-3-1",
      "26-03-01",
      "02026-03-01",
      "2026/03/01",
      "-2026-03-01",
      "2026-03-01 ",
      " 2026-03-01",
      "2026-03-01 1:00",
      "2026-03-01 01",
      "2026-03-01 01:00:00",
      "2026-03-01 01:00Z",
      "2026-03-01  01:00",
      "2026-03-01T01:00",
      "2026-03-01T01:00:00",
      "2026-03-01T01:00:00.Z",
      "2026-03-01T01:00:00.1234567890Z",
      "2026-03-01T01:00:00+1:00",
      "2026-03-01T01:00:00+0100",
      "2026-03-01T01:00:00+24:00",
      "2026-03-01T01:00:00+01:60",
      "2026-03-01T01:00:00Zx",
      "2026-03-01T",
      "2026-03-01\0"sv,
      "2026-03-01\n",
      "２026-03-01",
  };
  for (const auto text : table) {
    const auto time = parse_time(text);
    ASSERT_FALSE(time) << in_quotes(text);
    EXPECT_EQ(time.error().code, ErrorCode::invalid);
    EXPECT_EQ(time.error().message,
              in_quotes(text) + " is not a time; write 2026-03-01, 2026-03-01 18:00 or 2026-03-01T17:00:00Z");
  }
}

}  // namespace
}  // namespace ds01
