// SPDX-License-Identifier: Apache-2.0
#include "control/exchange.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "core/files.h"

namespace ds01::control {
namespace {

constexpr std::size_t kPage = 1000;
constexpr std::size_t kLargestPage = 10'000;

Result<std::uint64_t> number_of(const Query& query, const std::string& key, std::uint64_t fallback) {
  const auto found = query.find(key);
  if (found == query.end()) return fallback;
  const auto value = parse_number(found->second);
  if (!value) return fail(ErrorCode::invalid, fmt::format("{}: {}", key, value.error().message));
  return *value;
}

}  // namespace

http::Response json_response(const boost::json::value& value, unsigned status) {
  http::Response response;
  response.status = status;
  response.body = boost::json::serialize(value) + "\n";
  return response;
}

std::string text_of(const Query& query, const std::string& key) {
  const auto found = query.find(key);
  return found == query.end() ? "" : found->second;
}

Result<bool> flag_of(const Query& query, const std::string& key) {
  const auto text = text_of(query, key);
  if (!text.empty() && text != "true" && text != "false")
    return fail(ErrorCode::invalid, fmt::format("'{}' must be true or false", key));
  return text == "true";
}

Result<std::optional<WallTime>> time_of(const Query& query, const std::string& key) {
  const auto text = text_of(query, key);
  if (text.empty()) return std::nullopt;
  return parse_time(text);
}

Result<Range> range_of(const Query& query) {
  DS01_TRY(const auto limit, number_of(query, "limit", kPage));
  DS01_TRY(const auto cursor, number_of(query, "cursor", 0));
  if (limit == 0 || limit > kLargestPage)
    return fail(ErrorCode::invalid, fmt::format("'limit' must be 1 to {}", kLargestPage));
  return Range{limit, cursor};
}

http::Response page_response(const boost::json::array& page, std::optional<std::uint64_t> next) {
  auto response = json_response(page);
  if (next) response.next_cursor = std::to_string(*next);
  return response;
}

}  // namespace ds01::control
