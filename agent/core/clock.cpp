// SPDX-License-Identifier: Apache-2.0
#include "core/clock.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <optional>

#include "core/files.h"
#include "core/paths.h"
#include "core/text.h"

namespace ds01 {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

nanoseconds read_clock(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);  // cannot fail for these two clocks and a valid pointer
  return seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

// ---- Durations

struct Unit {
  char letter;
  std::int64_t seconds;
};
constexpr std::array<Unit, 5> kUnits{{{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};

// 100 years. Far inside what 64-bit nanoseconds hold (292 years), so that adding a duration to a clock cannot overflow.
constexpr std::int64_t kLongestDuration = 36525LL * 86400;

std::unexpected<Error> bad_duration(std::string_view text, std::string_view reason) {
  return fail(ErrorCode::invalid, fmt::format("{} {}", in_quotes(text), reason));
}

// Reads duration text part by part ("1d", then "12h") and adds up.
class DurationParser {
 public:
  explicit DurationParser(std::string_view text) : text_(text), rest_(text) {}

  Result<seconds> parse() {
    if (rest_.empty()) return malformed();
    while (!rest_.empty()) DS01_CHECK(add_part());
    if (total_ == 0) return bad_duration(text_, "is no time at all; write a duration above zero");
    return seconds(total_);
  }

 private:
  std::unexpected<Error> malformed() const {
    return bad_duration(text_, "is not a duration; write numbers with s, m, h, d or w, such as 90m or 1d12h");
  }

  std::unexpected<Error> too_long() const { return bad_duration(text_, "is longer than 100 years"); }

  Status add_part() {
    std::int64_t number = 0;
    if (rest_.front() < '0' || rest_.front() > '9') return malformed();  // from_chars would take a minus sign
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc()) return too_long();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    if (rest_.empty())
      return bad_duration(text_, "has a number without a unit; write s, m, h, d or w after it, such as 90m or 1d12h");
    return add(number);
  }

  Status add(std::int64_t number) {
    const auto unit = std::ranges::find(kUnits, rest_.front(), &Unit::letter);
    if (unit == kUnits.end()) return malformed();
    bool& seen = seen_[static_cast<std::size_t>(unit - kUnits.begin())];
    if (seen) return bad_duration(text_, fmt::format("names the unit {} twice", unit->letter));
    seen = true;
    rest_.remove_prefix(1);
    if (number > (kLongestDuration - total_) / unit->seconds) return too_long();
    total_ += number * unit->seconds;
    return {};
  }

  std::string_view text_;
  std::string_view rest_;
  std::array<bool, kUnits.size()> seen_{};
  std::int64_t total_ = 0;
};

// ---- Times

struct CivilTime {
  std::chrono::year_month_day date;
  int hour = 0;
  int minute = 0;
  int second = 0;
  nanoseconds fraction{0};
};

std::unexpected<Error> bad_time(std::string_view text, std::string_view reason) {
  return fail(ErrorCode::invalid, fmt::format("{} {}", in_quotes(text), reason));
}

std::unexpected<Error> malformed_time(std::string_view text) {
  return bad_time(text, "is not a time; write 2026-03-01, 2026-03-01 18:00 or 2026-03-01T17:00:00Z");
}

// Takes fixed-width pieces from the front of a text. After the first mismatch everything fails.
class Pieces {
 public:
  explicit Pieces(std::string_view text) : rest_(text) {}

  bool failed() const { return failed_; }
  bool done() const { return !failed_ && rest_.empty(); }

  int digits(std::size_t count) {
    const auto piece = rest_.substr(0, count);
    if (piece.size() < count || piece.find_first_not_of("0123456789") != std::string_view::npos) failed_ = true;
    int value = 0;
    for (const char c : piece) value = value * 10 + (c - '0');
    rest_.remove_prefix(piece.size());
    return failed_ ? 0 : value;
  }

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(char c) { failed_ |= !take(c); }

  // ".5" is 500 ms: one to nine digits after a point.
  nanoseconds fraction() {
    if (!take('.')) return nanoseconds(0);
    const auto count = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (count < 1 || count > 9) failed_ = true;
    if (failed_) return nanoseconds(0);
    std::int64_t value = digits(count);
    for (auto i = count; i < 9; ++i) value *= 10;
    return nanoseconds(value);
  }

  // "Z" or "+01:00", as minutes east of UTC.
  int offset() {
    if (take('Z') || take('z')) return 0;
    const bool west = take('-');
    if (!west) expect('+');
    const int hours = digits(2);
    expect(':');
    const int minutes = digits(2);
    failed_ |= hours > 23 || minutes > 59;
    return (west ? -1 : 1) * (hours * 60 + minutes);
  }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

std::chrono::year_month_day take_date(Pieces& pieces) {
  const int year = pieces.digits(4);
  pieces.expect('-');
  const int month = pieces.digits(2);
  pieces.expect('-');
  const int day = pieces.digits(2);
  return {std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
          std::chrono::day(static_cast<unsigned>(day))};
}

void take_hour_and_minute(Pieces& pieces, CivilTime& time) {
  time.hour = pieces.digits(2);
  pieces.expect(':');
  time.minute = pieces.digits(2);
}

// Leap seconds (":60") are refused: no Linux clock shows them.
Status check(const CivilTime& time, std::string_view text) {
  if (!time.date.ok()) return bad_time(text, "is a date that the calendar does not have");
  const int year = static_cast<int>(time.date.year());
  if (year < 1970 || year > 2199) return bad_time(text, "is outside the years 1970 to 2199");
  if (time.hour > 23 || time.minute > 59 || time.second > 59)
    return bad_time(text, "is a time of day that no clock shows");
  return {};
}

std::tm to_tm(const CivilTime& time, int is_dst) {
  std::tm tm{};
  tm.tm_year = static_cast<int>(time.date.year()) - 1900;
  tm.tm_mon = static_cast<int>(static_cast<unsigned>(time.date.month())) - 1;
  tm.tm_mday = static_cast<int>(static_cast<unsigned>(time.date.day()));
  tm.tm_hour = time.hour;
  tm.tm_min = time.minute;
  tm.tm_sec = time.second;
  tm.tm_isdst = is_dst;
  return tm;
}

// mktime "corrects" an hour that the zone skips, or one asked for with the wrong daylight saving flag, by moving it.
// Only a result that still shows the asked-for time counts.
std::optional<std::time_t> local_time(const CivilTime& time, int is_dst) {
  const std::tm asked = to_tm(time, is_dst);
  std::tm tm = asked;
  const std::time_t result = std::mktime(&tm);
  const bool kept = tm.tm_year == asked.tm_year && tm.tm_mon == asked.tm_mon && tm.tm_mday == asked.tm_mday &&
                    tm.tm_hour == asked.tm_hour && tm.tm_min == asked.tm_min;
  return kept ? std::optional(result) : std::nullopt;
}

// An hour that happens twice, when the clocks go back, is the first one: of two possible ends, access gets the earlier.
Result<WallTime> from_local(const CivilTime& time, std::string_view text) {
  std::optional<std::time_t> earliest;
  for (const int is_dst : {0, 1}) {
    const auto candidate = local_time(time, is_dst);
    if (candidate && (!earliest || *candidate < *earliest)) earliest = candidate;
  }
  if (!earliest) return bad_time(text, "does not exist in local time: the clocks go forward over it");
  return WallTime(seconds(*earliest));
}

WallTime from_utc(const CivilTime& time, int offset_minutes) {
  return std::chrono::sys_days(time.date) + std::chrono::hours(time.hour) +
         std::chrono::minutes(time.minute - offset_minutes) + seconds(time.second) + time.fraction;
}

}  // namespace

// Of some looks the quickest counts. The wall clock was read after `before`: the difference is never too small, so that
// no end on the wall clock is late on the other.
nanoseconds Clock::wall_minus_boot() const {
  constexpr nanoseconds kAtOnce = std::chrono::microseconds(50);
  constexpr int kLooks = 10;
  auto quickest = nanoseconds::max();
  nanoseconds difference{0};
  for (int i = 0; i < kLooks && quickest > kAtOnce; ++i) {
    const auto before = boot();
    const auto now = wall();
    const auto took = boot() - before;
    if (took >= quickest) continue;
    quickest = took;
    difference = now.time_since_epoch() - before.time_since_epoch();
  }
  return difference;
}

BootTime SystemClock::boot() const { return BootTime(read_clock(CLOCK_BOOTTIME)); }

WallTime SystemClock::wall() const { return WallTime(read_clock(CLOCK_REALTIME)); }

std::string SystemClock::boot_id() const {
  static const std::string id = [] {
    auto text = read_file(paths::kBootId, 64).value_or("");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }();
  return id;
}

std::string format_utc(WallTime t) {
  const auto whole = std::chrono::floor<seconds>(t);
  const auto day = std::chrono::floor<std::chrono::days>(whole);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(whole - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

Result<seconds> parse_duration(std::string_view text) { return DurationParser(text).parse(); }

std::string format_duration(seconds d) {
  if (d == seconds(0)) return "0s";
  const bool negative = d < seconds(0);
  auto rest = static_cast<std::uint64_t>(d.count());
  if (negative) rest = 0 - rest;  // unsigned, because the lowest value has no positive counterpart
  std::string text = negative ? "-" : "";
  for (const auto& unit : kUnits) {
    if (unit.letter == 'w') continue;
    const auto size = static_cast<std::uint64_t>(unit.seconds);
    if (rest >= size) text += fmt::format("{}{}", rest / size, unit.letter);
    rest %= size;
  }
  return text;
}

Result<WallTime> parse_time(std::string_view text) {
  Pieces pieces(text);
  CivilTime time{.date = take_date(pieces)};
  const bool utc = pieces.take('T') || pieces.take('t');
  if (utc || !pieces.done()) {
    if (!utc) pieces.expect(' ');
    take_hour_and_minute(pieces, time);
  }
  int offset = 0;
  if (utc) {
    pieces.expect(':');
    time.second = pieces.digits(2);
    time.fraction = pieces.fraction();
    offset = pieces.offset();
  }
  if (!pieces.done()) return malformed_time(text);
  DS01_CHECK(check(time, text));
  return utc ? from_utc(time, offset) : from_local(time, text);
}

}  // namespace ds01
