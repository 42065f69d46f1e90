// SPDX-License-Identifier: Apache-2.0
// The texts of HTTP: request targets, percent encoding, error bodies. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "http/http.h"

namespace ds01::http {

// A refusal of the server itself; `status` may be one that no ErrorCode maps to.
struct Refusal {
  unsigned status;
  Error error;
};
Response refusal_response(const Refusal& refusal);

struct Target {
  std::string path;
  std::string query;
};

// Splits and checks a request target as it came. Only the origin form ("/path?query") is accepted; whatever could mean
// two things to two readers (control characters, "..", "//", bad encoding, a fragment) is ErrorCode::invalid.
Result<Target> parse_target(std::string_view raw);

// Bad encoding, control characters and text that is not UTF-8 are ErrorCode::invalid.
Result<std::string> percent_decode(std::string_view text);

// percent_encode for a whole path: '/' stays.
std::string encode_path(std::string_view path);

// The reply as it goes over the wire.
std::string serialize(const Response& response, bool keep_alive, bool without_body);

}  // namespace ds01::http
