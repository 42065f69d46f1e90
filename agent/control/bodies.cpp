// SPDX-License-Identifier: Apache-2.0
#include "control/bodies.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "core/text.h"

namespace ds01::control {
namespace {

namespace json = boost::json;
using json::object;

constexpr std::int64_t kLongest = 100LL * 366 * 24 * 3600;  // a century; keeps sums far from overflow

// Reads the fields of a body one by one; finish() refuses those nobody asked for.
class Body {
 public:
  static Result<Body> parse(std::string_view text, std::string_view what) {
    boost::system::error_code error;
    json::parse_options options;
    options.max_depth = 8;
    auto value = json::parse(text, error, {}, options);
    if (error || !value.is_object())
      return fail(ErrorCode::invalid, fmt::format("the body is not a JSON object; {}", what));
    return Body(std::move(value.as_object()));
  }

  Result<std::optional<std::string>> text(std::string_view key) {
    const auto* value = take(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) return wrong(key, "a string");
    return std::string(value->as_string());
  }
  Result<bool> flag(std::string_view key) {
    const auto* value = take(key);
    if (value == nullptr) return false;
    if (!value->is_bool()) return wrong(key, "true or false");
    return value->as_bool();
  }
  Result<std::optional<std::chrono::seconds>> seconds(std::string_view key) {
    const auto* value = take(key);
    if (value == nullptr) return std::nullopt;
    const auto* number = value->if_int64();
    if (number == nullptr || *number <= 0 || *number > kLongest)
      return wrong(key, "a positive number of seconds, at most a century");
    return std::chrono::seconds(*number);
  }
  Result<std::chrono::seconds> needed_seconds(std::string_view key) {
    DS01_TRY(const auto value, seconds(key));
    if (!value) return fail(ErrorCode::invalid, fmt::format("field '{}' is missing: a number of seconds", key));
    return *value;
  }
  const json::value* take(std::string_view key) {
    known_.push_back(key);
    const auto* value = object_.if_contains(key);
    return value != nullptr && value->is_null() ? nullptr : value;
  }
  Status finish() const {
    for (const auto& entry : object_)
      if (std::ranges::find(known_, std::string_view(entry.key())) == known_.end())
        return fail(ErrorCode::invalid,
                    fmt::format("unknown field {}; known are {}", in_quotes(entry.key()), fmt::join(known_, ", ")));
    return {};
  }
  static std::unexpected<Error> wrong(std::string_view key, std::string_view expected) {
    return fail(ErrorCode::invalid, fmt::format("field '{}' must be {}", key, expected));
  }

 private:
  explicit Body(object fields) : object_(std::move(fields)) {}
  object object_;
  std::vector<std::string_view> known_;
};

// "all", "0,2", or a list of indices and UUIDs.
Result<std::string> parse_gpus(const json::value* value) {
  if (value == nullptr) return "all";
  if (value->is_string()) return std::string(value->as_string());
  if (!value->is_array()) return Body::wrong("gpus", "\"all\" or a list of indices and UUIDs");
  std::vector<std::string> parts;
  for (const auto& entry : value->as_array()) {
    if (entry.is_int64() && entry.as_int64() >= 0)
      parts.push_back(std::to_string(entry.as_int64()));
    else if (entry.is_string() && entry.as_string().find(',') == json::string::npos)
      parts.emplace_back(entry.as_string());
    else
      return Body::wrong("gpus", "\"all\" or a list of indices and UUIDs");
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

// "none", "nvidia-cap30,nvidia-cap31", or a list of names.
Result<std::string> parse_caps(const json::value* value) {
  constexpr std::string_view kExpected = "\"none\" or a list of names such as nvidia-cap30";
  if (value == nullptr) return "none";
  if (value->is_string()) return std::string(value->as_string());
  if (!value->is_array()) return Body::wrong("caps", kExpected);
  std::vector<std::string> names;
  for (const auto& entry : value->as_array()) {
    if (!entry.is_string() || entry.as_string().find(',') != json::string::npos) return Body::wrong("caps", kExpected);
    names.emplace_back(entry.as_string());
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ","));
}

Status parse_end(Body& body, grants::GrantRequest& request) {
  DS01_TRY(const auto duration, body.seconds("duration_s"));
  DS01_TRY(const auto until, body.text("expires_at"));
  DS01_TRY(const bool permanent, body.flag("permanent"));
  if ((duration ? 1 : 0) + (until ? 1 : 0) + (permanent ? 1 : 0) > 1)
    return fail(ErrorCode::invalid, "give one of 'duration_s', 'expires_at' and 'permanent', not several");
  if (duration) request.end = *duration;
  if (permanent) request.end = grants::Permanent{};
  if (until) {
    DS01_TRY(request.end, parse_time(*until));
  }
  return {};
}

}  // namespace

Result<grants::GrantRequest> parse_grant_request(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "a grant needs at least {\"subject\": \"USER\"}"));
  grants::GrantRequest request;
  DS01_TRY(auto subject, body.text("subject"));
  if (!subject) return fail(ErrorCode::invalid, "field 'subject' is missing: a user name, uid:N or cgroup:/path");
  request.subject = *std::move(subject);
  DS01_CHECK(parse_end(body, request));
  DS01_TRY(request.gpus, parse_gpus(body.take("gpus")));
  DS01_TRY(request.caps, parse_caps(body.take("caps")));
  DS01_TRY(const auto reason, body.text("reason"));
  request.reason = reason.value_or("");
  DS01_TRY(const auto on_expiry, body.text("on_expiry"));
  if (on_expiry) {
    request.on_expiry = config::parse_on_expiry(*on_expiry);
    if (!request.on_expiry) return Body::wrong("on_expiry", "soft, cut or kill");
  }
  DS01_TRY(request.dry_run, body.flag("dry_run"));
  DS01_CHECK(body.finish());
  return request;
}

Result<std::chrono::seconds> parse_extension(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "an extension needs {\"duration_s\": 3600}"));
  DS01_TRY(const auto by, body.needed_seconds("duration_s"));
  DS01_CHECK(body.finish());
  return by;
}

Result<grants::Requests::Ask> parse_ask(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "a request needs at least {\"reason\": \"TEXT\"}"));
  grants::Requests::Ask ask;
  DS01_TRY(ask.duration, body.seconds("duration_s"));
  DS01_TRY(ask.gpus, parse_gpus(body.take("gpus")));
  DS01_TRY(auto reason, body.text("reason"));
  DS01_CHECK(body.finish());
  if (!reason) return fail(ErrorCode::invalid, "field 'reason' is missing: say what the GPUs are for");
  ask.reason = *std::move(reason);
  return ask;
}

Result<std::optional<std::chrono::seconds>> parse_approval(std::string_view text) {
  if (text.empty()) return std::nullopt;
  DS01_TRY(auto body, Body::parse(text, "an approval may have {\"duration_s\": 3600}"));
  DS01_TRY(const auto duration, body.seconds("duration_s"));
  DS01_CHECK(body.finish());
  return duration;
}

Result<std::string> parse_denial(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "a denial needs {\"reason\": \"TEXT\"}"));
  DS01_TRY(auto reason, body.text("reason"));
  DS01_CHECK(body.finish());
  if (!reason) return fail(ErrorCode::invalid, "field 'reason' is missing: the user is told why, so say it");
  return *std::move(reason);
}

Result<std::uint64_t> parse_seen(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "{\"number\": 3} marks the notices up to number 3"));
  const auto* value = body.take("number");
  DS01_CHECK(body.finish());
  const auto* number = value != nullptr ? value->if_int64() : nullptr;
  if (number == nullptr || *number <= 0) return Body::wrong("number", "the number of a notice");
  return static_cast<std::uint64_t>(*number);
}

Result<ModeRequest> parse_mode_request(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "a mode needs {\"mode\": \"full\"}"));
  ModeRequest request;
  DS01_TRY(const auto gate, body.text("gate"));
  if (gate && *gate != "gpu")
    return fail(ErrorCode::not_found, fmt::format("no gate {}: there is 'gpu'", in_quotes(*gate)));
  DS01_TRY(const auto mode, body.text("mode"));
  if (!mode) return fail(ErrorCode::invalid, "field 'mode' is missing: disabled, monitoring, full or default");
  request.mode = config::parse_mode(*mode);
  if (!request.mode && *mode != "default") return Body::wrong("mode", "disabled, monitoring, full or default");
  DS01_TRY(request.lasting, body.seconds("for_s"));
  if (request.lasting && !request.mode) return fail(ErrorCode::invalid, "'for_s' does not go with the mode 'default'");
  DS01_CHECK(body.finish());
  return request;
}

}  // namespace ds01::control
