// SPDX-License-Identifier: Apache-2.0
// Time as a value. Only core/ and the mains read a clock; everything else is handed a Clock, so tests can turn it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace ds01 {

// CLOCK_BOOTTIME: counts through suspend, never steps, starts anew at boot. The kernel side compares deadlines with it.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};
using BootTime = BootClock::time_point;
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual BootTime boot() const = 0;
  virtual WallTime wall() const = 0;
  // Names this boot: times on the boot clock of another one mean nothing. Empty if the system does not tell.
  virtual std::string boot_id() const = 0;

  // How far the wall clock is ahead, both read as if at once: what holds this thread up in between does not count.
  std::chrono::nanoseconds wall_minus_boot() const;
  // The wall-clock time of a moment on the boot clock, by the clocks as they stand now, and back.
  WallTime to_wall(BootTime t) const { return WallTime(t.time_since_epoch() + wall_minus_boot()); }
  BootTime to_boot(WallTime t) const { return BootTime(t.time_since_epoch() - wall_minus_boot()); }
};

class SystemClock final : public Clock {
 public:
  BootTime boot() const override;
  WallTime wall() const override;
  std::string boot_id() const override;
};

// "2026-03-01T12:00:00Z": RFC 3339 in UTC, whole seconds (rounded down).
std::string format_utc(WallTime t);

// Durations as the contract has them: "90m", "1d12h"; units s, m, h, d, w; each unit once, in falling order not
// required. A bare number, zero, a sign, an unknown unit or more than 100 years is ErrorCode::invalid with the reason.
Result<std::chrono::seconds> parse_duration(std::string_view text);

// Exact, in days, hours, minutes and seconds, parts of zero left out: 5400 s is "1h30m", 0 s is "0s", a week is "7d"
// (the contract's own way to write it). parse_duration reads it back unless it is zero or negative.
std::string format_duration(std::chrono::seconds d);

// RFC 3339 ("2026-03-01T12:00:00Z", "…+01:00") or local time "YYYY-MM-DD[ HH:MM]", of the years 1970 to 2199.
// Malformed or impossible (February 30, an hour that the clocks skip): invalid. Of an hour that the clocks repeat: the
// first.
Result<WallTime> parse_time(std::string_view text);

}  // namespace ds01
