// SPDX-License-Identifier: Apache-2.0
#include "notify/notifier.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/files.h"
#include "core/text.h"
#include "notify/terminals.h"

namespace ds01::notify {
namespace {

constexpr std::int64_t kMostKept = 20;
constexpr auto kKeptFor = std::chrono::days(30);

// Line breaks are ours, everything else that could drive a terminal is escaped.
std::vector<std::string> harmless_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (const auto line : split(text, '\n')) lines.push_back(printable(line));
  return lines;
}

std::int64_t since_epoch(WallTime time) { return time.time_since_epoch().count(); }

}  // namespace

Result<Delivery> Notifier::tell(uid_t uid, const std::string& text) {
  const auto lines = harmless_lines(text);
  if (write_to_terminals(uid, fmt::format("\r\n{}\r\n", fmt::join(lines, "\r\n")))) return Delivery::terminal;
  DS01_CHECK(keep(uid, fmt::format("{}", fmt::join(lines, "\n"))));
  return Delivery::kept;
}

bool Notifier::write_to_terminals(uid_t uid, std::string_view data) const {
  std::set<std::string> names;  // logind and utmp mostly name the same ones
  for (auto& name : deps_.session_terminals(uid)) names.insert(std::move(name));
  for (auto& name : utmp_terminals(deps_.utmp)) names.insert(std::move(name));
  bool taken = false;
  for (const auto& name : names) taken |= write_to_terminal(deps_.dev, name, uid, data);
  return taken;
}

Status Notifier::keep(uid_t uid, const std::string& text) {
  return deps_.database.transaction([&]() -> Status {
    DS01_CHECK(deps_.database.run("INSERT INTO notices (uid, time, text) VALUES (?, ?, ?)",
                                  {std::int64_t{uid}, since_epoch(deps_.clock.wall()), text}));
    return deps_.database.run(
        "DELETE FROM notices WHERE uid = ? AND number NOT IN "
        "(SELECT number FROM notices WHERE uid = ? ORDER BY number DESC LIMIT ?)",
        {std::int64_t{uid}, std::int64_t{uid}, kMostKept});
  });
}

Result<std::vector<Notice>> Notifier::pending(uid_t uid) const {
  std::vector<Notice> notices;
  DS01_CHECK(deps_.database.run("SELECT number, time, text FROM notices WHERE uid = ? ORDER BY number",
                                {std::int64_t{uid}}, [&](const database::Row& row) {
                                  notices.push_back({static_cast<std::uint64_t>(row.integer(0)),
                                                     WallTime(std::chrono::nanoseconds(row.integer(1))), row.text(2)});
                                }));
  return notices;
}

Status Notifier::seen(uid_t uid, std::uint64_t number) {
  // Numbers come from clients: one that no notice can have means all of them.
  const auto last = static_cast<std::int64_t>(std::min<std::uint64_t>(number, INT64_MAX));
  return deps_.database.run("DELETE FROM notices WHERE uid = ? AND number <= ?", {std::int64_t{uid}, last});
}

Status Notifier::forget_old() {
  return deps_.database.run("DELETE FROM notices WHERE time < ?", {since_epoch(deps_.clock.wall() - kKeptFor)});
}

}  // namespace ds01::notify
