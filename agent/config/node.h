// SPDX-License-Identifier: Apache-2.0
// A YAML document as a plain tree that remembers its lines. Knows nothing of yaml-cpp and nothing of the configuration.
#pragma once

#include <string>
#include <vector>

namespace ds01::config {

struct Node {
  enum class Kind { nothing, scalar, list, map };

  Kind kind = Kind::nothing;
  int line = 1;
  std::string text;         // a scalar's
  std::vector<Node> items;  // a list's items; a map's keys and values in turn, repeated keys included
};

}  // namespace ds01::config
