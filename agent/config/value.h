// SPDX-License-Identifier: Apache-2.0
// A Node with its name: what a reader of one key needs to give an error that says file, line and full dotted key.
// Values point into the tree and into the file name; both outlive them. Not thread-safe.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/node.h"
#include "core/result.h"

namespace ds01::config {

class Value;
struct Entry;

class Value {
 public:
  Value(const Node& root, const std::string& file) : node_(&root), file_(&file), line_(root.line) {}

  const std::string& key() const { return key_; }  // "devices[2].minors"; empty for the whole document
  std::string where() const;                       // "agent.yaml:12: devices[2].minors"
  std::unexpected<Error> fail(std::string_view reason) const;
  Value at_line(int line) const;  // for errors about the key rather than its value

  // Each refuses what is of another type; `expected` ("true or false") goes into the message.
  Result<std::string> text(std::string_view expected) const;
  Result<std::vector<Value>> list(std::string_view expected) const;
  Result<std::vector<Entry>> map() const;  // refuses repeated keys too

 private:
  Value(const Value& parent, const Node& node, std::string key)
      : node_(&node), file_(parent.file_), key_(std::move(key)), line_(node.line) {}
  Value child(const std::string& name, const Node& node) const;
  std::unexpected<Error> wrong_type(std::string_view expected) const;

  const Node* node_;
  const std::string* file_;
  std::string key_;
  int line_;
};

struct Entry {
  std::string name;
  int line;  // the key's
  Value value;
};

// What to do with the value of one known key.
using Decode = std::function<Status(const Value&)>;
struct Field {
  std::string_view name;
  Decode decode;
  bool required = false;
};

// Reads a map whose keys are all known, in the order of the file. An unknown key or a missing required one is an error.
Status read_fields(const Value& map, std::initializer_list<Field> fields);

// A Decode that puts what `read` makes of the value into `target`.
template <class T, class Reader>
Decode into(T& target, Reader read) {
  return [&target, read](const Value& value) -> Status {
    DS01_TRY(target, read(value));
    return {};
  };
}

// A reader is a function from a Value to a checked C++ value. This one reads a list by the reader of its items.
template <class Reader>
auto list_of(Reader read, std::string_view expected) {
  using Item = typename std::invoke_result_t<Reader, const Value&>::value_type;
  return [read, expected](const Value& value) -> Result<std::vector<Item>> {
    DS01_TRY(const auto items, value.list(expected));
    std::vector<Item> result;
    for (const auto& item : items) {
      DS01_TRY(auto read_item, read(item));
      result.push_back(std::move(read_item));
    }
    return result;
  };
}

}  // namespace ds01::config
