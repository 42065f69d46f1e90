// SPDX-License-Identifier: Apache-2.0
#include "control/api.h"

#include <algorithm>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/bodies.h"
#include "control/json.h"
#include "control/metrics.h"
#include "core/files.h"
#include "core/text.h"

namespace ds01::control {
namespace {

namespace json = boost::json;
using json::object;

object mode_json(const enforcer::Enforcer& enforcer, const Clock& clock) {
  const auto& override = enforcer.override_mode();
  object out{{"mode", config::to_string(enforcer.mode_now())},
             {"configured_mode", config::to_string(enforcer.config().gpu_mode)},
             {"until", nullptr}};
  if (!override || has_ended(override->end, clock)) return out;
  if (const auto until = on_wall(override->end, clock)) out["until"] = format_utc(*until);
  return out;
}

object store_json(const database::Database& database, const enforcer::Enforcer& enforcer) {
  const auto& trouble = database.fault() ? database.fault() : database.unwritable();
  object out{{"ok", !trouble}, {"error", nullptr}};
  if (!trouble) return out;
  const auto* mode = enforcer.knows_override() ? "" : "; until then the mode is full, unless agent.yaml says disabled";
  out["error"] = trouble->message + mode;
  return out;
}

struct Totals {
  std::uint64_t denied = 0;
  std::uint64_t would_deny = 0;
};

Totals total(const std::vector<kernel::Count>& counts) {
  Totals totals;
  for (const auto& row : counts) {
    if (row.key.device_class == DS01_CLASS_SELFTEST) continue;
    totals.denied += row.value.verdicts[DS01_DENIED];
    totals.would_deny += row.value.verdicts[DS01_WOULD_DENY];
  }
  return totals;
}

// What stands in `path` for the pattern's '*'; "" for a pattern without one. None: it does not match.
std::optional<std::string> match(std::string_view pattern, std::string_view path) {
  const auto star = pattern.find('*');
  if (star == std::string_view::npos) return path == pattern ? std::optional("") : std::nullopt;
  const auto before = pattern.substr(0, star);
  const auto behind = pattern.substr(star + 1);
  if (path.size() < pattern.size() || !path.starts_with(before) || !path.ends_with(behind)) return std::nullopt;
  return std::string(path.substr(before.size(), path.size() - before.size() - behind.size()));
}

}  // namespace

const Api::Route Api::kRoutes[] = {
    {"GET", "/v1/status", false, &Api::get_status, ""},
    {"GET", "/healthz", false, &Api::get_health, ""},
    {"GET", "/metrics", false, &Api::get_metrics, ""},
    {"GET", "/v1/mode", false, &Api::get_mode, ""},
    {"PUT", "/v1/mode", true, &Api::put_mode, ""},
    {"GET", "/v1/whoami", false, &Api::get_whoami, ""},
    {"POST", "/v1/notices/seen", false, &Api::post_seen, ""},
    {"GET", "/v1/denials", false, &Api::get_denials, "user since"},
    {"GET", "/v1/history", false, &Api::get_history, "user since limit cursor"},
    {"GET", "/v1/grants", false, &Api::list_grants, "all limit cursor"},
    {"POST", "/v1/grants", true, &Api::post_grant, ""},
    {"GET", "/v1/grants/*", false, &Api::get_grant, ""},
    {"DELETE", "/v1/grants/*", true, &Api::delete_grant, "reason"},
    {"POST", "/v1/grants/*/extend", true, &Api::extend_grant, ""},
    {"GET", "/v1/requests", false, &Api::list_requests, "all limit cursor"},
    {"POST", "/v1/requests", false, &Api::post_request, ""},
    {"GET", "/v1/requests/*", false, &Api::get_request, ""},
    {"POST", "/v1/requests/*/approve", true, &Api::approve_request, ""},
    {"POST", "/v1/requests/*/deny", true, &Api::deny_request, ""},
};

http::Response Api::handle(const authz::Caller& caller, const http::Request& request) {
  auto reply = dispatch(caller, request);
  return reply ? *std::move(reply) : http::error_response(reply.error());
}

Api::Reply Api::dispatch(const authz::Caller& caller, const http::Request& request) {
  bool path_known = false;
  for (const auto& route : kRoutes) {
    auto rest = match(route.path, request.path);
    path_known = path_known || rest;
    if (!rest || route.method != request.method) continue;
    DS01_TRY(auto query, http::parse_query(request.query));
    return run(route, {caller, request, std::move(query), *std::move(rest)});
  }
  if (path_known) return fail(ErrorCode::invalid, fmt::format("{} does not go with {}", request.method, request.path));
  return fail(ErrorCode::not_found, fmt::format("no such path: {}", escaped(request.path)));
}

Api::Reply Api::run(const Route& route, const Call& call) {
  if (route.admin && !call.caller.admin) {
    // Without the gate in front of it there is no admin.sock, and root is no admin: say that, not "ask an admin".
    if (call.caller.actor.uid == 0 && !deps_.enforcer.attached()) return get_health(call);
    deps_.trail.refused(call.caller.actor.uid, call.caller.pid,
                        fmt::format("{} {} needs an admin", call.request.method, call.request.path));
    return fail(ErrorCode::refused,
                "only root and the admins named in agent.yaml may do this, on the host; ask an admin");
  }
  const auto known = split(route.query_keys, ' ');
  for (const auto& [key, value] : call.query)
    if (std::ranges::find(known, key) == known.end())
      return fail(ErrorCode::invalid, fmt::format("unknown query parameter {}", in_quotes(key)));
  return (this->*route.handler)(call);
}

Status Api::check_on_host(const Call& call, std::string_view what) {
  if (call.caller.on_host) return {};
  deps_.trail.refused(call.caller.actor.uid, call.caller.pid,
                      fmt::format("{} {} from a container", call.request.method, call.request.path));
  return fail(ErrorCode::refused, fmt::format("{} on the host, not in a container", what));
}

Result<std::optional<uid_t>> Api::whose(const Call& call, std::string_view what) const {
  std::optional<uid_t> uid;
  if (!call.caller.admin) uid = call.caller.actor.uid;
  const auto user = text_of(call.query, "user");
  if (user.empty()) return uid;
  DS01_TRY(const uid_t asked, identity::find_uid(deps_.users, user));
  if (uid && *uid != asked) return fail(ErrorCode::refused, fmt::format("only admins may see the {} of others", what));
  return asked;
}

Api::Reply Api::get_status(const Call& call) {
  const auto& enforcer = deps_.enforcer;
  DS01_TRY(const auto counts, enforcer.counts());
  const auto totals = total(counts);
  const auto losses = enforcer.losses();
  std::optional<uid_t> asker;
  if (!call.caller.admin) asker = call.caller.actor.uid;
  object out{{"version", DS01_VERSION},
             {"backend", nullptr},
             {"attached", enforcer.attached()},
             {"reason", enforcer.reason()},
             {"best_effort_hooks", json::array()},
             {"recursion_misses_total", enforcer.recursion_misses()},
             {"gates", object{{"gpu", mode_json(enforcer, deps_.clock)}}},
             {"grants_active", deps_.grants.active_count()},
             {"grants_suspended", deps_.grants.suspended_count()},
             {"requests_pending", deps_.requests.pending_count(asker)},
             {"store", store_json(deps_.database, enforcer)},
             {"denials_total", totals.denied},
             {"would_deny_total", totals.would_deny},
             {"events_lost_total", losses[DS01_LOST_EVENTS]},
             {"events_limited_total", losses[DS01_LIMITED_EVENTS]},
             {"unattributed_total", losses[DS01_UNATTRIBUTED]},
             {"audit_lines_lost_total", deps_.trail.lines_lost()},
             {"started_at", format_utc(deps_.started)}};
  if (enforcer.attached()) out["backend"] = "bpf_lsm";
  return json_response(out);
}

Api::Reply Api::get_health(const Call&) {
  if (!deps_.enforcer.attached())
    return fail(ErrorCode::unavailable, fmt::format("the kernel side is not attached: {}", deps_.enforcer.reason()));
  return json_response(object{{"status", "ok"}});
}

Api::Reply Api::get_metrics(const Call&) {
  DS01_TRY(const auto counts, deps_.enforcer.counts());
  http::Response response;
  response.content_type = "text/plain; version=0.0.4";
  response.body = metrics_text({counts, deps_.enforcer.losses(), deps_.enforcer.recursion_misses(),
                                deps_.enforcer.attached(), deps_.enforcer.mode_now(), deps_.grants.active_count(),
                                deps_.grants.suspended_count(), deps_.requests.pending_count(),
                                !deps_.database.fault() && !deps_.database.unwritable(), deps_.trail.lines_lost()});
  return response;
}

Api::Reply Api::get_mode(const Call&) { return json_response(object{{"gpu", mode_json(deps_.enforcer, deps_.clock)}}); }

Api::Reply Api::put_mode(const Call& call) {
  DS01_TRY(const auto request, parse_mode_request(call.request.body));
  if (!request.mode) {
    DS01_CHECK(deps_.enforcer.reset_mode());
    deps_.trail.mode_changed(fmt::format("set the gpu gate back to the configured mode, {}",
                                         config::to_string(deps_.enforcer.config().gpu_mode)),
                             call.caller.actor);
  } else {
    End end = Never{};
    if (request.lasting) end = deps_.clock.boot() + *request.lasting;
    DS01_CHECK(deps_.enforcer.set_mode(*request.mode, end));
    deps_.trail.mode_changed(fmt::format("set the gpu gate to {}{}", config::to_string(*request.mode),
                                         request.lasting ? " for " + format_duration(*request.lasting) : ""),
                             call.caller.actor);
  }
  deps_.on_change();
  return get_mode(call);
}

Api::Reply Api::get_denials(const Call& call) {
  DS01_TRY(const auto uid, whose(call, "denials"));
  DS01_TRY(const auto since, time_of(call.query, "since"));
  DS01_TRY(auto counts, deps_.enforcer.counts());
  if (since) {
    const auto from = std::max<std::int64_t>(deps_.clock.to_boot(*since).time_since_epoch().count(), 0);
    std::erase_if(counts,
                  [&](const kernel::Count& row) { return row.value.last_denial < static_cast<std::uint64_t>(from); });
  }
  return json_response(denials_json(counts, uid, deps_.users, deps_.clock));
}

}  // namespace ds01::control
