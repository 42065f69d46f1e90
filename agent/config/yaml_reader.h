// SPDX-License-Identifier: Apache-2.0
// YAML text -> Node. The only user of yaml-cpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "config/node.h"
#include "core/result.h"

namespace ds01::config {

inline constexpr std::size_t kMaxFileSize = 256 * 1024;
inline constexpr std::size_t kMaxDepth = 16;

// One document of plain YAML: scalars, lists, maps. Anchors, aliases, tags, directives, control characters, a second
// document and nesting deeper than kMaxDepth are refused, so the tree is never larger than the text. Errors are
// "NAME:LINE: reason".
Result<Node> parse_yaml(std::string_view text, const std::string& name);

}  // namespace ds01::config
