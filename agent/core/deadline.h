// SPDX-License-Identifier: Apache-2.0
// When something ends, on which clock, and a schedule of such ends. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "core/clock.h"

namespace ds01 {

struct Never {
  bool operator==(const Never&) const = default;
};

// A duration ends on the boot clock, so no step of the wall clock moves it. A time of day ends on the wall clock and
// follows it.
using End = std::variant<Never, BootTime, WallTime>;

// None: never. Not below zero.
std::optional<std::chrono::nanoseconds> time_left(const End& end, const Clock& clock);
bool has_ended(const End& end, const Clock& clock);
// The same moment on the other clock, by the clocks as they stand now. None: never.
std::optional<WallTime> on_wall(const End& end, const Clock& clock);
std::optional<BootTime> on_boot(const End& end, const Clock& clock);
// The end that lies `time` later (or earlier), on the same clock.
End shifted(const End& end, std::chrono::nanoseconds time);
// Whether `a` comes before `b`; nothing comes after never.
bool ends_before(const End& a, const End& b, const Clock& clock);

// An end as it is kept on disk. Boot times mean something during one boot only, so the absolute time is there as well
// and counts after a reboot.
struct EndRecord {
  std::optional<std::int64_t> boot_ns;
  std::optional<std::int64_t> wall_ns;  // none: never
  std::string boot_id;                  // with boot_ns

  bool operator==(const EndRecord&) const = default;
};
EndRecord to_record(const End& end, const Clock& clock);
End from_record(const EndRecord& record, const Clock& clock);

// Numbered things by the time at which each is due.
class Deadlines {
 public:
  // Sets or moves; Never removes.
  void set(std::uint64_t number, const End& end);
  void remove(std::uint64_t number) { set(number, Never{}); }
  // When the first is due, by the clocks as they stand now.
  std::optional<BootTime> next(const Clock& clock) const;
  // At most `limit` of those due now, the earliest of each clock first. They stay until removed.
  std::vector<std::uint64_t> due(const Clock& clock, std::size_t limit) const;

 private:
  std::unordered_map<std::uint64_t, End> ends_;
  std::set<std::pair<BootTime, std::uint64_t>> boot_;
  std::set<std::pair<WallTime, std::uint64_t>> wall_;
};

}  // namespace ds01
