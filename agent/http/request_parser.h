// SPDX-License-Identifier: Apache-2.0
// Bytes in, one checked request out. The stricter half of HTTP/1.1: what two parsers could read in two ways is refused.
// No input or output, no clock.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <string_view>

#include "http/http.h"
#include "http/message.h"

namespace ds01::http {

class RequestParser {
 public:
  // Uses header_bytes and body_bytes.
  explicit RequestParser(const Limits& limits);
  ~RequestParser();

  // Takes bytes and says how many it used. The rest must be offered again with more behind it, or, once done(), belongs
  // to the next request. Not to be called after done() or a refusal.
  std::expected<std::size_t, Refusal> put(std::string_view bytes);

  bool done() const;

  // Whether the client waits for "100 Continue" before it sends the body. True once.
  bool take_continue();

  // Only when done().
  bool keep_alive() const;
  Request take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds01::http
