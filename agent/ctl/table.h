// SPDX-License-Identifier: Apache-2.0
// Tables for people: columns as wide as they need, the one marked flexible shrinks first.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace ds01::ctl {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::optional<std::size_t> flexible;  // the column that is cut when the terminal is too narrow
};

struct TableStyle {
  bool legend = true;     // the header line
  bool bold = false;      // terminal escapes around it
  std::size_t width = 0;  // of the terminal; 0: unlimited
};

std::string render(const Table& table, const TableStyle& style);

// `text` without what could drive a terminal: control characters, C1 ones as well, become '?'.
std::string harmless(std::string_view text);

// Columns that `text` takes: one per UTF-8 character. Control characters are replaced before.
std::size_t display_width(std::string_view text);

}  // namespace ds01::ctl
