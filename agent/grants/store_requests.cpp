// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "grants/columns.h"
#include "grants/store.h"

namespace ds01::grants {
namespace {

using namespace columns;

constexpr std::string_view kRequestColumns =
    "number, uid, name, login, duration, gpus, reason, created, ends_boot, ends_wall, boot_id, state, decided, "
    "decided_by_uid, decided_by_name, decided_by_login, answer, grant_number";

// A word that this build does not know is no reason to grant anything.
RequestState state_at(const Row& row, int column) {
  constexpr std::array kStates{RequestState::pending, RequestState::approved, RequestState::denied,
                               RequestState::lapsed};
  const auto text = row.text(column);
  const auto found = std::ranges::find_if(kStates, [&](RequestState state) { return to_string(state) == text; });
  return found == kStates.end() ? RequestState::lapsed : *found;
}

Request request_at(const Row& row, const Clock& clock) {
  Request request;
  request.number = static_cast<std::uint64_t>(row.integer(0));
  request.who = actor_at(row, 1);
  request.duration = seconds_at(row, 4);
  request.gpus = row.text(5);
  request.reason = row.text(6);
  request.created = time_at(row, 7);
  request.lapses = end_at(row, 8, clock);
  request.state = state_at(row, 11);
  request.decided = optional_time_at(row, 12);
  request.decided_by = optional_actor_at(row, 13);
  request.answer = row.text(16);
  if (!row.is_null(17)) request.grant = static_cast<std::uint64_t>(row.integer(17));
  return request;
}

std::string requests_query(std::string_view rest) {
  return fmt::format("SELECT {} FROM requests {}", kRequestColumns, rest);
}

}  // namespace

Status Store::add(Request& request) {
  const auto end = to_record(request.lapses, clock_);
  DS01_CHECK(database_.run(
      "INSERT INTO requests (uid, name, login, duration, gpus, reason, created, ends_boot, ends_wall, boot_id, state, "
      "answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', '') RETURNING number",
      {number(request.who.uid), request.who.name, number(request.who.login_uid), seconds(request.duration),
       request.gpus, request.reason, time(request.created), number(end.boot_ns), number(end.wall_ns), end.boot_id},
      [&](const Row& row) { request.number = static_cast<std::uint64_t>(row.integer(0)); }));
  return request.state == RequestState::pending ? Status() : save(request);
}

// What an answer changes; the rest never does.
Status Store::save(const Request& request) {
  const auto& by = request.decided_by;
  return database_.run(
      "UPDATE requests SET state = ?, decided = ?, decided_by_uid = ?, decided_by_name = ?, decided_by_login = ?, "
      "answer = ?, grant_number = ? WHERE number = ?",
      {std::string(to_string(request.state)), time(request.decided), by ? number(by->uid) : Value(nullptr),
       by ? Value(by->name) : Value(nullptr), by ? number(by->login_uid) : Value(nullptr), request.answer,
       number(request.grant), number(request.number)});
}

Status Store::remove_request(std::uint64_t request) {
  return database_.run("DELETE FROM requests WHERE number = ?", {number(request)});
}

Result<std::vector<Request>> Store::requests(const std::string& sql, std::initializer_list<Value> values) const {
  std::vector<Request> requests;
  DS01_CHECK(database_.run(sql, values, [&](const Row& row) { requests.push_back(request_at(row, clock_)); }));
  return requests;
}

Result<std::vector<Request>> Store::pending_requests() const {
  return requests(requests_query("WHERE decided IS NULL ORDER BY number"), {});
}

Result<Request> Store::request(std::uint64_t request) const {
  DS01_TRY(auto found, requests(requests_query("WHERE number = ?"), {count(request)}));
  if (found.empty())
    return fail(ErrorCode::not_found, fmt::format("no request r-{}: see ds01ctl requests --all", request));
  return std::move(found.front());
}

Result<std::vector<Request>> Store::list_requests(const Range& range) const {
  if (!range.uid)
    return requests(requests_query("WHERE number > ? ORDER BY number LIMIT ?"),
                    {count(range.cursor), count(range.limit)});
  return requests(requests_query("WHERE uid = ? AND number > ? ORDER BY number LIMIT ?"),
                  {number(*range.uid), count(range.cursor), count(range.limit)});
}

}  // namespace ds01::grants
