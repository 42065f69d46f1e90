// SPDX-License-Identifier: Apache-2.0
#include "enforcer/mode_store.h"

namespace ds01::enforcer {
namespace {

using database::Value;

Value column(const std::optional<std::int64_t>& number) { return number ? Value(*number) : Value(nullptr); }

}  // namespace

Result<std::optional<Override>> load_override(database::Database& database, const Clock& clock) {
  std::optional<Override> found;
  DS01_CHECK(database.run("SELECT mode, ends_boot, ends_wall, boot_id FROM modes WHERE gate = 'gpu'", {},
                          [&](const database::Row& row) {
                            const auto mode = config::parse_mode(row.text(0));
                            const EndRecord end{row.optional_integer(1), row.optional_integer(2), row.text(3)};
                            if (mode) found = Override{*mode, from_record(end, clock)};
                          }));
  if (found && has_ended(found->end, clock)) found.reset();
  return found;
}

Status store_override(database::Database& database, const std::optional<Override>& mode, const Clock& clock) {
  if (!mode) return database.run("DELETE FROM modes WHERE gate = 'gpu'", {});
  const auto end = to_record(mode->end, clock);
  return database.run(
      "INSERT OR REPLACE INTO modes(gate, mode, ends_boot, ends_wall, boot_id) VALUES('gpu', ?, ?, ?, ?)",
      {std::string(config::to_string(mode->mode)), column(end.boot_ns), column(end.wall_ns), end.boot_id});
}

}  // namespace ds01::enforcer
