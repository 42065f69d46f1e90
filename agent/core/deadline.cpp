// SPDX-License-Identifier: Apache-2.0
#include "core/deadline.h"

#include <algorithm>

namespace ds01 {
namespace {

using std::chrono::nanoseconds;

BootTime now(const Clock& clock, BootTime) { return clock.boot(); }
WallTime now(const Clock& clock, WallTime) { return clock.wall(); }

template <class Time>
void take_due(const std::set<std::pair<Time, std::uint64_t>>& ends, Time now, std::size_t limit,
              std::vector<std::uint64_t>& due) {
  for (const auto& [time, number] : ends) {
    if (time > now || due.size() >= limit) return;
    due.push_back(number);
  }
}

}  // namespace

std::optional<nanoseconds> time_left(const End& end, const Clock& clock) {
  return std::visit(
      [&]<class Time>(const Time& time) -> std::optional<nanoseconds> {
        if constexpr (std::is_same_v<Time, Never>)
          return std::nullopt;
        else
          return std::max(nanoseconds(0), nanoseconds(time - now(clock, time)));
      },
      end);
}

bool has_ended(const End& end, const Clock& clock) { return time_left(end, clock) == nanoseconds(0); }

std::optional<WallTime> on_wall(const End& end, const Clock& clock) {
  if (const auto* boot = std::get_if<BootTime>(&end)) return clock.to_wall(*boot);
  if (const auto* wall = std::get_if<WallTime>(&end)) return *wall;
  return std::nullopt;
}

std::optional<BootTime> on_boot(const End& end, const Clock& clock) {
  if (const auto* boot = std::get_if<BootTime>(&end)) return *boot;
  if (const auto* wall = std::get_if<WallTime>(&end)) return clock.to_boot(*wall);
  return std::nullopt;
}

End shifted(const End& end, nanoseconds time) {
  if (const auto* boot = std::get_if<BootTime>(&end)) return *boot + time;
  if (const auto* wall = std::get_if<WallTime>(&end)) return *wall + time;
  return Never{};
}

bool ends_before(const End& a, const End& b, const Clock& clock) {
  if (std::holds_alternative<Never>(a)) return false;
  if (std::holds_alternative<Never>(b)) return true;
  // Ends on the same clock are compared on it: the clocks are read one after the other, so a detour is not exact.
  if (std::holds_alternative<WallTime>(a) && std::holds_alternative<WallTime>(b))
    return std::get<WallTime>(a) < std::get<WallTime>(b);
  return on_boot(a, clock) < on_boot(b, clock);
}

EndRecord to_record(const End& end, const Clock& clock) {
  EndRecord record;
  if (const auto wall = on_wall(end, clock)) record.wall_ns = wall->time_since_epoch().count();
  if (const auto* boot = std::get_if<BootTime>(&end)) {
    record.boot_ns = boot->time_since_epoch().count();
    record.boot_id = clock.boot_id();
  }
  return record;
}

End from_record(const EndRecord& record, const Clock& clock) {
  // A boot that has no name cannot be told from another one.
  if (record.boot_ns && !record.boot_id.empty() && record.boot_id == clock.boot_id())
    return BootTime(nanoseconds(*record.boot_ns));
  if (record.wall_ns) return WallTime(nanoseconds(*record.wall_ns));
  return Never{};
}

void Deadlines::set(std::uint64_t number, const End& end) {
  if (const auto old = ends_.find(number); old != ends_.end()) {
    if (const auto* boot = std::get_if<BootTime>(&old->second)) boot_.erase({*boot, number});
    if (const auto* wall = std::get_if<WallTime>(&old->second)) wall_.erase({*wall, number});
    ends_.erase(old);
  }
  if (std::holds_alternative<Never>(end)) return;
  if (const auto* boot = std::get_if<BootTime>(&end)) boot_.insert({*boot, number});
  if (const auto* wall = std::get_if<WallTime>(&end)) wall_.insert({*wall, number});
  ends_.emplace(number, end);
}

std::optional<BootTime> Deadlines::next(const Clock& clock) const {
  std::optional<BootTime> next;
  if (!boot_.empty()) next = boot_.begin()->first;
  if (wall_.empty()) return next;
  const auto first_on_wall = clock.to_boot(wall_.begin()->first);
  return std::min(next.value_or(first_on_wall), first_on_wall);
}

std::vector<std::uint64_t> Deadlines::due(const Clock& clock, std::size_t limit) const {
  std::vector<std::uint64_t> due;
  take_due(boot_, clock.boot(), limit, due);
  take_due(wall_, clock.wall(), limit, due);
  return due;
}

}  // namespace ds01
