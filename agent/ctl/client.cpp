// SPDX-License-Identifier: Apache-2.0
#include "ctl/client.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "http/http.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kTimeout(30);
constexpr std::chrono::seconds kQuick(1);

Error error_of(const json::value& value, unsigned status) {
  const auto* object = value.if_object();
  const auto* error = object != nullptr ? object->if_contains("error") : nullptr;
  if (error == nullptr || !error->is_object())
    return {ErrorCode::system, fmt::format("the agent answered with status {}", status)};
  const auto field = [&](const char* key) {
    const auto* text = error->as_object().if_contains(key);
    return text != nullptr && text->is_string() ? std::string(text->as_string()) : std::string();
  };
  return {http::code_of(field("code")), field("message")};
}

Result<http::Response> send(const std::filesystem::path& runtime, const http::Request& request) {
  auto response = http::request(runtime / "admin.sock", request, kTimeout);
  if (response) return response;
  // Not allowed in, or the kernel side is down and there is no admin.sock: agent.sock says which.
  auto own = http::request(runtime / "agent.sock", request, kTimeout);
  if (own && response.error().code == ErrorCode::unavailable) {
    // An agent that is just starting may have opened admin.sock in between.
    if (auto again = http::request(runtime / "admin.sock", request, kTimeout)) return again;
  }
  if (own || own.error().code != ErrorCode::unavailable) return own;
  return fail(ErrorCode::unavailable,
              fmt::format("the agent is not reachable: {}; see systemctl status ds01d", own.error().message));
}

Result<Reply> read(const http::Response& response) {
  boost::system::error_code error;
  auto value = json::parse(response.body, error);
  if (error) return fail(ErrorCode::unavailable, "the agent's answer is not JSON; is something else listening?");
  if (response.status >= 400) return std::unexpected(error_of(value, response.status));
  return Reply{std::move(value), response.next_cursor};
}

}  // namespace

Result<Reply> Client::call(const std::string& method, const std::string& path, const std::string& query,
                           const std::string& body) const {
  DS01_TRY(const auto response, send(runtime_, {method, path, query, body}));
  return read(response);
}

Result<Reply> Client::call_quickly(const std::string& method, const std::string& path, const std::string& body) const {
  DS01_TRY(const auto response, http::request(runtime_ / "agent.sock", {method, path, "", body}, kQuick));
  return read(response);
}

}  // namespace ds01::ctl
