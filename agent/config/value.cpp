// SPDX-License-Identifier: Apache-2.0
#include "config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/text.h"

namespace ds01::config {
namespace {

std::string_view describe(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::nothing: return "no value";
    case Node::Kind::scalar: return "a single value";
    case Node::Kind::list: return "a list";
    case Node::Kind::map: return "a map";
  }
  return "?";
}

// How many letters to insert, drop or change to get from one to the other (Levenshtein). Keys are cut to 80 bytes
// before.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

std::string unknown_key(std::string_view name, std::initializer_list<Field> fields) {
  const auto shown = name.substr(0, 80);
  const auto nearest =
      std::ranges::min_element(fields, {}, [&](const Field& field) { return distance(shown, field.name); });
  if (distance(shown, nearest->name) <= std::max<std::size_t>(1, nearest->name.size() / 3))
    return fmt::format("unknown key; did you mean '{}'?", nearest->name);
  std::vector<std::string_view> names;
  for (const auto& field : fields) names.push_back(field.name);
  return fmt::format("unknown key; expected one of {}", fmt::join(names, ", "));
}

}  // namespace

std::string Value::where() const {
  return key_.empty() ? fmt::format("{}:{}", *file_, line_) : fmt::format("{}:{}: {}", *file_, line_, key_);
}

std::unexpected<Error> Value::fail(std::string_view reason) const {
  return ds01::fail(ErrorCode::invalid, fmt::format("{}: {}", where(), reason));
}

Value Value::at_line(int line) const {
  Value moved = *this;
  moved.line_ = line;
  return moved;
}

std::unexpected<Error> Value::wrong_type(std::string_view expected) const {
  if (node_->kind == Node::Kind::nothing)
    return fail(fmt::format("has no value; expected {}, or leave it out", expected));
  return fail(fmt::format("expected {}, found {}", expected, describe(node_->kind)));
}

Result<std::string> Value::text(std::string_view expected) const {
  if (node_->kind != Node::Kind::scalar) return wrong_type(expected);
  return node_->text;
}

Result<std::vector<Value>> Value::list(std::string_view expected) const {
  if (node_->kind != Node::Kind::list) return wrong_type(expected);
  std::vector<Value> items;
  for (const auto& item : node_->items) items.push_back(Value(*this, item, fmt::format("{}[{}]", key_, items.size())));
  return items;
}

Value Value::child(const std::string& name, const Node& node) const {
  const std::string shown = escaped(name);
  return Value(*this, node, key_.empty() ? shown : key_ + "." + shown);
}

Result<std::vector<Entry>> Value::map() const {
  if (node_->kind != Node::Kind::map) return wrong_type("keys and values such as 'mode: monitoring'");
  std::vector<Entry> entries;
  std::map<std::string, int> lines;
  for (std::size_t i = 0; i + 1 < node_->items.size(); i += 2) {
    const Node& name = node_->items[i];
    if (name.kind != Node::Kind::scalar) return Value(*this, name, key_).fail("a key must be a plain word");
    const Value value = child(name.text, node_->items[i + 1]);
    const auto [first, is_new] = lines.emplace(name.text, name.line);
    if (!is_new)
      return value.at_line(name.line).fail(
          fmt::format("repeated key, already set in line {}; keep one", first->second));
    entries.push_back({name.text, name.line, value});
  }
  return entries;
}

Status read_fields(const Value& map, std::initializer_list<Field> fields) {
  DS01_TRY(const auto entries, map.map());
  std::set<std::string_view> seen;
  for (const auto& entry : entries) {
    const auto field = std::ranges::find(fields, entry.name, &Field::name);
    if (field == fields.end()) return entry.value.at_line(entry.line).fail(unknown_key(entry.name, fields));
    seen.insert(field->name);
    DS01_CHECK(field->decode(entry.value));
  }
  for (const auto& field : fields)
    if (field.required && !seen.contains(field.name)) return map.fail(fmt::format("needs the key '{}'", field.name));
  return {};
}

}  // namespace ds01::config
