// SPDX-License-Identifier: Apache-2.0
// What the routes share: reading query parameters, writing answers. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/clock.h"
#include "core/result.h"
#include "http/http.h"

namespace ds01::control {

using Query = std::map<std::string, std::string>;

http::Response json_response(const boost::json::value& value, unsigned status = 200);

// Absent is "", false or none; a value that cannot be read is invalid and names the key.
std::string text_of(const Query& query, const std::string& key);
Result<bool> flag_of(const Query& query, const std::string& key);
Result<std::optional<WallTime>> time_of(const Query& query, const std::string& key);

// "limit" and "cursor" of a list.
struct Range {
  std::size_t limit;
  std::uint64_t cursor;
};
Result<Range> range_of(const Query& query);

// A page of a list, with the cursor for the next one if there is more.
http::Response page_response(const boost::json::array& page, std::optional<std::uint64_t> next);

}  // namespace ds01::control
