// SPDX-License-Identifier: Apache-2.0
// Between the types of a record and SQL's, for the store's .cpp files.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "core/deadline.h"
#include "database/database.h"
#include "grants/grant.h"

namespace ds01::grants::columns {

using database::Row;
using database::Value;

template <class Number>
Value number(Number value) {
  return static_cast<std::int64_t>(value);
}
template <class Number>
Value number(const std::optional<Number>& value) {
  return value ? number(*value) : Value(nullptr);
}
inline Value time(WallTime time) { return number(time.time_since_epoch().count()); }
inline Value time(const std::optional<WallTime>& value) { return value ? time(*value) : Value(nullptr); }
inline Value seconds(std::chrono::seconds length) { return number(length.count()); }
// "No limit" may be more than SQL's integers hold.
inline Value count(std::uint64_t value) {
  return number(std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
}

inline WallTime time_at(const Row& row, int column) { return WallTime(std::chrono::nanoseconds(row.integer(column))); }
inline std::optional<WallTime> optional_time_at(const Row& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(time_at(row, column));
}
inline std::chrono::seconds seconds_at(const Row& row, int column) { return std::chrono::seconds(row.integer(column)); }

// Three columns: uid, name, login uid.
inline Actor actor_at(const Row& row, int column) {
  Actor actor{static_cast<uid_t>(row.integer(column)), row.text(column + 1), std::nullopt};
  if (const auto login = row.optional_integer(column + 2)) actor.login_uid = static_cast<uid_t>(*login);
  return actor;
}
inline std::optional<Actor> optional_actor_at(const Row& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(actor_at(row, column));
}
// Three columns: boot time, wall time, boot id.
inline End end_at(const Row& row, int column, const Clock& clock) {
  return from_record({row.optional_integer(column), row.optional_integer(column + 1), row.text(column + 2)}, clock);
}

}  // namespace ds01::grants::columns
