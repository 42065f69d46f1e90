// SPDX-License-Identifier: Apache-2.0
#include "control/json.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "core/text.h"
#include "devices/devices.h"

namespace ds01::control {
namespace {

namespace json = boost::json;
using json::object;

constexpr std::int64_t kLongest = 100LL * 366 * 24 * 3600;  // a century; keeps sums far from overflow

object subject_json(const grants::Subject& subject) {
  if (subject.kind == grants::Subject::Kind::cgroup) return {{"kind", "cgroup"}, {"path", subject.path}};
  return {{"kind", "user"}, {"name", subject.display()}, {"uid", subject.uid}};
}

json::value gpus_json(const grants::Grant& grant) {
  if (!grant.gpus) return "all";
  json::array gpus;
  for (const auto& gpu : *grant.gpus)
    gpus.push_back(object{{"index", gpu.index}, {"uuid", gpu.uuid.empty() ? json::value() : json::value(gpu.uuid)}});
  return gpus;
}

object actor_json(const grants::Actor& actor) {
  object out{{"uid", actor.uid}, {"name", actor.name}, {"login_uid", nullptr}};
  if (actor.login_uid) out["login_uid"] = *actor.login_uid;
  return out;
}

json::value moment_json(std::uint64_t boot_ns, const Clock& clock) {
  if (boot_ns == 0) return nullptr;
  return json::string(format_utc(clock.to_wall(BootTime(std::chrono::nanoseconds(boot_ns)))));
}

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

object to_json(const grants::Grant& grant, const Clock& clock) {
  object out{{"id", grant.id()},
             {"subject", subject_json(grant.subject)},
             {"gpus", gpus_json(grant)},
             {"caps", json::array()},
             {"created_at", format_utc(grant.created)},
             {"expires_at", nullptr},
             {"remaining_s", nullptr},
             {"on_expiry", config::to_string(grant.on_expiry)},
             {"granted_by", actor_json(grant.granted_by)},
             {"reason", grant.reason},
             {"state", grants::to_string(grant.state)}};
  if (grant.state != grants::State::active) {
    out["expires_at"] = format_utc(grant.ends_wall);
    out["remaining_s"] = 0;
  } else if (grant.ends) {
    const auto remaining = std::max(*grant.ends - clock.boot(), BootClock::duration(0));
    out["expires_at"] = format_utc(grant.ends_wall);
    out["remaining_s"] = std::chrono::ceil<std::chrono::seconds>(remaining).count();
  }
  return out;
}

json::array denials_json(const std::vector<kernel::Count>& counts, std::optional<uid_t> uid,
                         const identity::Users& users, const Clock& clock) {
  std::vector<kernel::Count> rows;
  for (const auto& row : counts) {
    const auto denials = row.value.verdicts[DS01_DENIED] + row.value.verdicts[DS01_WOULD_DENY];
    if (denials != 0 && row.key.device_class != DS01_CLASS_SELFTEST && (!uid || row.key.uid == *uid))
      rows.push_back(row);
  }
  std::ranges::sort(
      rows, {}, [](const kernel::Count& row) { return std::tuple(row.key.uid, row.key.device_class, row.key.hook); });
  json::array out;
  for (const auto& row : rows)
    out.push_back(object{{"user", identity::display_name(users, row.key.uid)},
                         {"uid", row.key.uid},
                         {"class", devices::class_name(row.key.device_class)},
                         {"hook", row.key.hook == DS01_HOOK_OPEN ? "open" : "connect"},
                         {"count", row.value.verdicts[DS01_DENIED]},
                         {"would_deny_count", row.value.verdicts[DS01_WOULD_DENY]},
                         {"first_at", moment_json(row.value.first_denial, clock)},
                         {"last_at", moment_json(row.value.last_denial, clock)}});
  return out;
}

Result<grants::GrantRequest> parse_grant_request(std::string_view text) {
  DS01_TRY(auto body, Body::parse(text, "a grant needs at least {\"subject\": \"USER\"}"));
  grants::GrantRequest request;
  DS01_TRY(auto subject, body.text("subject"));
  if (!subject) return fail(ErrorCode::invalid, "field 'subject' is missing: a user name, uid:N or cgroup:/path");
  request.subject = *std::move(subject);
  DS01_CHECK(parse_end(body, request));
  DS01_TRY(request.gpus, parse_gpus(body.take("gpus")));
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
