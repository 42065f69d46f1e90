// SPDX-License-Identifier: Apache-2.0
#include "ctl/table.h"

#include <algorithm>

#include <fmt/format.h>

namespace ds01::ctl {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 10;

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::string cut(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  std::size_t bytes = 0;
  for (std::size_t columns = 0; bytes < text.size(); ++bytes)
    if (!continues(text[bytes]) && columns++ == width - 1) break;
  return text.substr(0, bytes) + "…";
}

std::vector<std::size_t> measure(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& name : table.header) widths.push_back(display_width(name));
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  return widths;
}

void shrink(std::vector<std::size_t>& widths, std::size_t column, std::size_t limit) {
  std::size_t total = kGap * (widths.size() - 1);
  for (const auto width : widths) total += width;
  if (total <= limit) return;
  const auto excess = total - limit;
  const auto least = std::min(widths[column], kNarrowest);
  widths[column] = std::max(least, widths[column] > excess ? widths[column] - excess : 0);
}

std::string line(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  std::string out;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto text = cut(harmless(cells[i]), widths[i]);
    out += text;
    if (i + 1 < cells.size()) out.append(widths[i] + kGap - display_width(text), ' ');
  }
  out.erase(out.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace

// Names and reasons come from users: nothing of theirs may drive the terminal.
std::string harmless(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;  // U+0080 to U+009F; U+009B starts an escape sequence
    out += c < 0x20 || c == 0x7f || c1 ? '?' : text[i];
    if (c1) ++i;
  }
  return out;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return !continues(c); }));
}

std::string render(const Table& table, const TableStyle& style) {
  auto widths = measure(table);
  if (style.width != 0 && table.flexible) shrink(widths, *table.flexible, style.width);
  std::string out;
  if (style.legend) {
    const auto header = line(table.header, widths);
    out += style.bold ? fmt::format("\033[1m{}\033[0m\n", header) : header + "\n";
  }
  for (const auto& row : table.rows) out += line(row, widths) + "\n";
  return out;
}

}  // namespace ds01::ctl
