// SPDX-License-Identifier: Apache-2.0
#include "grants/store.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/files.h"
#include "core/text.h"
#include "grants/columns.h"

namespace ds01::grants {
namespace {

using namespace columns;

constexpr auto kKept = std::chrono::hours(24 * 400);
constexpr std::chrono::nanoseconds kWallTolerance = std::chrono::seconds(1);

constexpr std::string_view kGrantColumns =
    "number, uid, name, path, gpus, created, ends_boot, ends_wall, boot_id, term, warned, on_expiry, granted_by_uid, "
    "granted_by_name, granted_by_login, reason, state, ended, ended_by_uid, ended_by_name, ended_by_login, end_reason, "
    "caps";

using Gpus = std::optional<std::vector<devices::Gpu>>;

Value gpus_text(const Gpus& gpus) {
  if (!gpus) return nullptr;
  std::string text;
  for (const auto& gpu : *gpus) text += fmt::format("{} {}\n", gpu.index, gpu.uuid);
  return text;
}

Gpus gpus_at(const Row& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  std::vector<devices::Gpu> gpus;
  const auto text = row.text(column);
  for (const auto line : split(text, '\n')) {
    const auto space = std::min(line.find(' '), line.size());
    const auto index = parse_number(line.substr(0, space));
    if (!index) continue;  // a grant of fewer GPUs than was meant, never of more
    gpus.push_back({static_cast<std::uint32_t>(*index), std::string(line.substr(std::min(space + 1, line.size())))});
  }
  return gpus;
}

Value caps_text(const Grant& grant) { return fmt::format("{}", fmt::join(grant.caps, ",")); }

// A word that this build does not know takes rights away, never gives any.
State state_at(const Row& row, int column) {
  constexpr std::array kStates{State::active, State::expired, State::revoked, State::suspended};
  const auto text = row.text(column);
  const auto found = std::ranges::find_if(kStates, [&](State state) { return to_string(state) == text; });
  return found == kStates.end() ? State::suspended : *found;
}

Grant grant_at(const Row& row, const Clock& clock) {
  Grant grant;
  grant.number = static_cast<std::uint64_t>(row.integer(0));
  grant.subject.kind = row.is_null(1) ? Subject::Kind::cgroup : Subject::Kind::user;
  grant.subject.uid = static_cast<uid_t>(row.integer(1));
  grant.subject.name = row.text(2);
  grant.subject.path = row.text(3);
  grant.gpus = gpus_at(row, 4);
  grant.created = time_at(row, 5);
  grant.end = end_at(row, 6, clock);
  grant.term = seconds_at(row, 9);
  if (!row.is_null(10)) grant.warned = seconds_at(row, 10);
  grant.on_expiry = config::parse_on_expiry(row.text(11)).value_or(config::OnExpiry::cut);
  grant.granted_by = actor_at(row, 12);
  grant.reason = row.text(15);
  grant.state = state_at(row, 16);
  grant.ended = optional_time_at(row, 17);
  grant.ended_by = optional_actor_at(row, 18);
  grant.end_reason = row.text(21);
  const auto caps = row.text(22);
  for (const auto cap : split(caps, ',')) grant.caps.emplace_back(cap);
  return grant;
}

std::string grants_query(std::string_view rest) { return fmt::format("SELECT {} FROM grants {}", kGrantColumns, rest); }

}  // namespace

Status Store::add(Grant& grant) {
  const auto& [kind, uid, name, path, id, depth] = grant.subject;
  const bool user = kind == Subject::Kind::user;
  const auto end = to_record(grant.end, clock_);
  const auto& by = grant.granted_by;
  return database_.run(
      "INSERT INTO grants (uid, name, path, gpus, created, ends_boot, ends_wall, boot_id, term, warned, on_expiry, "
      "granted_by_uid, granted_by_name, granted_by_login, reason, state, caps, end_reason) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, '') RETURNING number",
      {user ? number(uid) : Value(nullptr), name, user ? Value(nullptr) : Value(path), gpus_text(grant.gpus),
       time(grant.created), number(end.boot_ns), number(end.wall_ns), end.boot_id, seconds(grant.term),
       std::string(config::to_string(grant.on_expiry)), number(by.uid), by.name, number(by.login_uid), grant.reason,
       std::string(to_string(grant.state)), caps_text(grant)},
      [&](const Row& row) { grant.number = static_cast<std::uint64_t>(row.integer(0)); });
}

Status Store::save(const Grant& grant) {
  const auto end = to_record(grant.end, clock_);
  const auto& by = grant.granted_by;
  const auto& ended_by = grant.ended_by;
  const auto warned = grant.warned ? seconds(*grant.warned) : Value(nullptr);
  return database_.run(
      "UPDATE grants SET name = ?, gpus = ?, caps = ?, ends_boot = ?, ends_wall = ?, boot_id = ?, term = ?, warned = "
      "?, "
      "on_expiry = ?, granted_by_uid = ?, granted_by_name = ?, granted_by_login = ?, reason = ?, state = ?, ended = ?, "
      "ended_by_uid = ?, ended_by_name = ?, ended_by_login = ?, end_reason = ? WHERE number = ?",
      {grant.subject.name,
       gpus_text(grant.gpus),
       caps_text(grant),
       number(end.boot_ns),
       number(end.wall_ns),
       end.boot_id,
       seconds(grant.term),
       warned,
       std::string(config::to_string(grant.on_expiry)),
       number(by.uid),
       by.name,
       number(by.login_uid),
       grant.reason,
       std::string(to_string(grant.state)),
       time(grant.ended),
       ended_by ? number(ended_by->uid) : Value(nullptr),
       ended_by ? Value(ended_by->name) : Value(nullptr),
       ended_by ? number(ended_by->login_uid) : Value(nullptr),
       grant.end_reason,
       number(grant.number)});
}

Result<std::uint64_t> Store::next_grant_number() const {
  std::uint64_t last = 0;
  DS01_CHECK(database_.run("SELECT seq FROM sqlite_sequence WHERE name = 'grants'", {},
                           [&](const Row& row) { last = static_cast<std::uint64_t>(row.integer(0)); }));
  return last + 1;
}

Status Store::remove_grant(std::uint64_t grant) {
  return database_.run("DELETE FROM grants WHERE number = ?", {number(grant)});
}

Result<std::vector<Grant>> Store::grants(const std::string& sql, std::initializer_list<Value> values) const {
  std::vector<Grant> grants;
  DS01_CHECK(database_.run(sql, values, [&](const Row& row) { grants.push_back(grant_at(row, clock_)); }));
  return grants;
}

// Looked at here rather than by clock_changed() each time: 100,000 rows are read anyway.
Result<Store::Living> Store::living() const {
  Living living;
  const auto offset = clock_.wall_minus_boot().count();
  const auto take = [&](const Row& row) {
    living.grants.push_back(grant_at(row, clock_));
    const bool on_boot = std::holds_alternative<BootTime>(living.grants.back().end);
    living.stale |= on_boot && std::abs(row.integer(7) - row.integer(6) - offset) > kWallTolerance.count();
  };
  DS01_CHECK(database_.run(grants_query("WHERE ended IS NULL ORDER BY number"), {}, take));
  return living;
}

Result<Grant> Store::grant(std::uint64_t grant) const {
  DS01_TRY(auto found, grants(grants_query("WHERE number = ?"), {count(grant)}));
  if (found.empty()) return fail(ErrorCode::not_found, fmt::format("no grant g-{}: see ds01ctl list --all", grant));
  return std::move(found.front());
}

Result<std::vector<Grant>> Store::list(const Range& range) const {
  if (!range.uid)
    return grants(grants_query("WHERE number > ? ORDER BY number LIMIT ?"), {count(range.cursor), count(range.limit)});
  return grants(grants_query("WHERE uid = ? AND number > ? ORDER BY number LIMIT ?"),
                {number(*range.uid), count(range.cursor), count(range.limit)});
}

Result<std::vector<Grant>> Store::history(const Range& range, std::optional<WallTime> since) const {
  const auto from = since ? time(*since) : number(std::numeric_limits<std::int64_t>::min());
  if (!range.uid)
    return grants(grants_query("WHERE ended >= ? ORDER BY ended DESC, number DESC LIMIT ? OFFSET ?"),
                  {from, count(range.limit), count(range.cursor)});
  return grants(grants_query("WHERE uid = ? AND ended >= ? ORDER BY ended DESC, number DESC LIMIT ? OFFSET ?"),
                {number(*range.uid), from, count(range.limit), count(range.cursor)});
}

Status Store::clock_changed() {
  const auto offset = number(clock_.wall_minus_boot().count());
  const auto follow = [&](std::string_view living) {
    return database_.run(fmt::format("UPDATE {} IS NULL AND boot_id = ? AND ends_boot IS NOT NULL "
                                     "AND abs(ends_wall - ends_boot - ?) > ?",
                                     living),
                         {offset, clock_.boot_id(), offset, number(kWallTolerance.count())});
  };
  return transaction([&]() -> Status {
    DS01_CHECK(follow("grants SET ends_wall = ends_boot + ? WHERE ended"));
    return follow("requests SET ends_wall = ends_boot + ? WHERE decided");
  });
}

Status Store::forget_old() {
  const auto before = time(clock_.wall() - kKept);
  return transaction([&]() -> Status {
    DS01_CHECK(database_.run("DELETE FROM grants WHERE ended < ?", {before}));
    return database_.run("DELETE FROM requests WHERE decided < ?", {before});
  });
}

}  // namespace ds01::grants
