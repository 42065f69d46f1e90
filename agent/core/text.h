// SPDX-License-Identifier: Apache-2.0
// Foreign text in messages: what a user or a file supplied must not be able to forge a log line or drive a terminal.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace ds01 {

// All of `text` as printable UTF-8: control characters, terminal escapes, direction marks and invalid bytes become
// \xNN.
std::string printable(std::string_view text);

// `text` with control characters, invalid UTF-8 and invisible characters escaped, cut to about 80 bytes.
inline std::string escaped(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  const bool cut = text.size() > kLongest;
  const std::string with_quotes = fmt::format("{:?}", text.substr(0, kLongest));
  return with_quotes.substr(1, with_quotes.size() - 2) + (cut ? "…" : "");
}

// The same in single quotes.
inline std::string in_quotes(std::string_view text) { return "'" + escaped(text) + "'"; }

}  // namespace ds01
