// SPDX-License-Identifier: Apache-2.0
#include "control/api.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/json.h"
#include "control/metrics.h"
#include "core/files.h"
#include "core/text.h"

namespace ds01::control {
namespace {

namespace json = boost::json;
using json::object;

constexpr std::size_t kPage = 1000;
constexpr std::size_t kLargestPage = 10'000;

http::Response ok(const json::value& value, unsigned status = 200) {
  http::Response response;
  response.status = status;
  response.body = json::serialize(value) + "\n";
  return response;
}

object mode_json(const enforcer::Enforcer& enforcer, const Clock& clock) {
  const auto mode = enforcer.mode();
  object out{{"mode", config::to_string(enforcer.mode_now())},
             {"configured_mode", config::to_string(enforcer.config().gpu_mode)},
             {"until", nullptr}};
  if (mode.until && *mode.until > clock.boot()) out["until"] = format_utc(clock.to_wall(*mode.until));
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

Result<std::uint64_t> number(const std::map<std::string, std::string>& query, const std::string& key,
                             std::uint64_t fallback) {
  const auto found = query.find(key);
  if (found == query.end()) return fallback;
  const auto value = parse_number(found->second);
  if (!value) return fail(ErrorCode::invalid, fmt::format("{}: {}", key, value.error().message));
  return *value;
}

// The allowed cgroup that `cgroup` lies in or is; "" if there is none.
std::string allowed_cgroup(const config::Config& config, const std::string& cgroup) {
  for (const auto& allowed : config.allow_cgroups)
    if (cgroup == allowed || cgroup.starts_with(allowed + "/")) return allowed;
  return "";
}

std::string text(const std::map<std::string, std::string>& query, const std::string& key) {
  const auto found = query.find(key);
  return found == query.end() ? "" : found->second;
}

}  // namespace

const Api::Route Api::kRoutes[] = {
    {"GET", "/v1/status", false, &Api::get_status, ""},
    {"GET", "/healthz", false, &Api::get_health, ""},
    {"GET", "/metrics", false, &Api::get_metrics, ""},
    {"GET", "/v1/mode", false, &Api::get_mode, ""},
    {"PUT", "/v1/mode", true, &Api::put_mode, ""},
    {"GET", "/v1/whoami", false, &Api::get_whoami, ""},
    {"GET", "/v1/denials", false, &Api::get_denials, "user since"},
    {"GET", "/v1/grants", false, &Api::list_grants, "all limit cursor"},
    {"POST", "/v1/grants", true, &Api::post_grant, ""},
    {"GET", "/v1/grants/", false, &Api::get_grant, ""},
    {"DELETE", "/v1/grants/", true, &Api::delete_grant, "reason"},
};

http::Response Api::handle(const authz::Caller& caller, const http::Request& request) {
  auto reply = dispatch(caller, request);
  return reply ? *std::move(reply) : http::error_response(reply.error());
}

Api::Reply Api::dispatch(const authz::Caller& caller, const http::Request& request) {
  bool path_known = false;
  for (const auto& route : kRoutes) {
    const bool prefix = route.path.ends_with('/');
    const bool matches = prefix ? request.path.starts_with(route.path) && request.path.size() > route.path.size()
                                : request.path == route.path;
    path_known = path_known || matches;
    if (!matches || route.method != request.method) continue;
    DS01_TRY(auto query, http::parse_query(request.query));
    return run(route, {caller, request, std::move(query), prefix ? request.path.substr(route.path.size()) : ""});
  }
  if (path_known) return fail(ErrorCode::invalid, fmt::format("{} does not go with {}", request.method, request.path));
  return fail(ErrorCode::not_found, fmt::format("no such path: {}", escaped(request.path)));
}

Api::Reply Api::run(const Route& route, Call call) {
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

Api::Reply Api::get_status(const Call&) {
  const auto& enforcer = deps_.enforcer;
  DS01_TRY(const auto counts, enforcer.counts());
  const auto totals = total(counts);
  const auto losses = enforcer.losses();
  object out{{"version", DS01_VERSION},
             {"backend", nullptr},
             {"attached", enforcer.attached()},
             {"reason", enforcer.reason()},
             {"best_effort_hooks", json::array()},
             {"recursion_misses_total", enforcer.recursion_misses()},
             {"gates", object{{"gpu", mode_json(enforcer, deps_.clock)}}},
             {"grants_active", deps_.grants.active_count()},
             {"denials_total", totals.denied},
             {"would_deny_total", totals.would_deny},
             {"events_lost_total", losses[DS01_LOST_EVENTS]},
             {"events_limited_total", losses[DS01_LIMITED_EVENTS]},
             {"unattributed_total", losses[DS01_UNATTRIBUTED]},
             {"audit_lines_lost_total", deps_.trail.lines_lost()},
             {"started_at", format_utc(deps_.started)}};
  if (enforcer.attached()) out["backend"] = "bpf_lsm";
  return ok(out);
}

Api::Reply Api::get_health(const Call&) {
  if (!deps_.enforcer.attached())
    return fail(ErrorCode::unavailable, fmt::format("the kernel side is not attached: {}", deps_.enforcer.reason()));
  return ok(object{{"status", "ok"}});
}

Api::Reply Api::get_metrics(const Call&) {
  DS01_TRY(const auto counts, deps_.enforcer.counts());
  http::Response response;
  response.content_type = "text/plain; version=0.0.4";
  response.body =
      metrics_text({counts, deps_.enforcer.losses(), deps_.enforcer.recursion_misses(), deps_.enforcer.attached(),
                    deps_.enforcer.mode_now(), deps_.grants.active_count(), deps_.trail.lines_lost()});
  return response;
}

Api::Reply Api::get_mode(const Call&) { return ok(object{{"gpu", mode_json(deps_.enforcer, deps_.clock)}}); }

Api::Reply Api::put_mode(const Call& call) {
  DS01_TRY(const auto request, parse_mode_request(call.request.body));
  if (!request.mode) {
    DS01_CHECK(deps_.enforcer.reset_mode());
    deps_.trail.mode_changed(fmt::format("set the gpu gate back to the configured mode, {}",
                                         config::to_string(deps_.enforcer.config().gpu_mode)),
                             call.caller.actor);
  } else {
    std::optional<BootTime> until;
    if (request.lasting) until = deps_.clock.boot() + *request.lasting;
    DS01_CHECK(deps_.enforcer.set_mode(*request.mode, until));
    deps_.trail.mode_changed(fmt::format("set the gpu gate to {}{}", config::to_string(*request.mode),
                                         request.lasting ? " for " + format_duration(*request.lasting) : ""),
                             call.caller.actor);
  }
  deps_.on_change();
  return get_mode(call);
}

Api::Reply Api::get_whoami(const Call& call) {
  const auto uid = call.caller.actor.uid;
  const auto* grant = deps_.grants.active_for_uid(uid);
  const auto& resolved = deps_.enforcer.resolved();
  const auto mode = deps_.enforcer.mode_now();
  std::string_view access = "denied";
  std::string why = "no grant; ask an admin for one";
  const auto allow = [&](std::string reason) {
    access = "allowed";
    why = std::move(reason);
  };
  if (!deps_.enforcer.attached())
    allow("the gate is not attached");
  else if (mode == config::Mode::disabled)
    allow("the gate is disabled");
  else if (resolved.denied_uids.contains(uid))
    why = "denied by configuration (deny.users)";
  else if (uid == 0 && call.caller.on_host)
    allow("root on the host");
  else if (call.caller.on_host && resolved.exempt_uids.contains(uid))
    allow("exempt by configuration (exempt)");
  else if (const auto slice = allowed_cgroup(deps_.enforcer.config(), call.caller.cgroup); !slice.empty())
    allow(fmt::format("in the allowed cgroup {}", slice));
  else if (!call.caller.on_host)
    why = "in a container outside the allowed cgroups, where rights of users do not count";
  else if (grant != nullptr)
    allow(fmt::format("{} for {}", grant->id(), grant->scope()));
  if (access == "denied" && mode == config::Mode::monitoring)
    allow(fmt::format("the gate only monitors; in full mode this would be denied: {}", why));
  return ok(object{{"user", call.caller.actor.name},
                   {"uid", uid},
                   {"admin", call.caller.admin},
                   {"mode", config::to_string(mode)},
                   {"access", access},
                   {"why", why},
                   {"grant", grant != nullptr ? json::value(to_json(*grant, deps_.clock)) : json::value()},
                   {"notices", json::array()}});
}

Api::Reply Api::get_denials(const Call& call) {
  std::optional<uid_t> uid;
  if (!call.caller.admin) uid = call.caller.actor.uid;
  if (const auto user = text(call.query, "user"); !user.empty()) {
    DS01_TRY(const uid_t asked, identity::find_uid(deps_.users, user));
    if (uid && *uid != asked) return fail(ErrorCode::refused, "only admins may see the denials of others");
    uid = asked;
  }
  std::uint64_t since = 0;
  if (const auto when = text(call.query, "since"); !when.empty()) {
    DS01_TRY(const auto moment, parse_time(when));
    since =
        static_cast<std::uint64_t>(std::max<std::int64_t>(deps_.clock.to_boot(moment).time_since_epoch().count(), 0));
  }
  DS01_TRY(auto counts, deps_.enforcer.counts());
  std::erase_if(counts, [&](const kernel::Count& row) { return row.value.last_denial < since; });
  return ok(denials_json(counts, uid, deps_.users, deps_.clock));
}

Api::Reply Api::list_grants(const Call& call) {
  const auto all = text(call.query, "all");
  if (!all.empty() && all != "true" && all != "false") return fail(ErrorCode::invalid, "'all' must be true or false");
  DS01_TRY(const auto limit, number(call.query, "limit", kPage));
  DS01_TRY(const auto cursor, number(call.query, "cursor", 0));
  if (limit == 0 || limit > kLargestPage)
    return fail(ErrorCode::invalid, fmt::format("'limit' must be 1 to {}", kLargestPage));
  std::optional<uid_t> uid;
  if (!call.caller.admin) uid = call.caller.actor.uid;
  const auto page = deps_.grants.list(all == "true", uid, limit, cursor);
  json::array out;
  for (const auto& grant : page.grants) out.push_back(to_json(grant, deps_.clock));
  auto response = ok(out);
  if (page.next) response.next_cursor = std::to_string(*page.next);
  return response;
}

Api::Reply Api::get_grant(const Call& call) {
  auto grant = deps_.grants.find(call.rest);
  const auto own = [&] {
    return grant->subject.kind == grants::Subject::Kind::user && grant->subject.uid == call.caller.actor.uid;
  };
  if (call.caller.admin || (grant && own())) {
    if (!grant) return std::unexpected(grant.error());
    return ok(to_json(*grant, deps_.clock));
  }
  // The same answer whether it exists or not: users learn nothing about others.
  return fail(ErrorCode::not_found, fmt::format("you have no grant {}: see ds01ctl list", in_quotes(call.rest)));
}

Api::Reply Api::post_grant(const Call& call) {
  DS01_TRY(const auto request, parse_grant_request(call.request.body));
  if (!deps_.enforcer.attached()) return get_health(call);
  DS01_TRY(const auto grant, deps_.grants.grant(request, call.caller.actor));
  if (!request.dry_run) {
    deps_.trail.granted(grant);
    deps_.on_change();
  }
  return ok(to_json(grant, deps_.clock), request.dry_run ? 200 : 201);
}

Api::Reply Api::delete_grant(const Call& call) {
  const auto reason = text(call.query, "reason");
  if (reason.size() > 500) return fail(ErrorCode::invalid, "the reason is longer than 500 bytes");
  DS01_TRY(const auto grant, deps_.grants.revoke(call.rest));
  deps_.trail.revoked(grant, call.caller.actor, reason);
  deps_.on_change();
  return ok(to_json(grant, deps_.clock));
}

}  // namespace ds01::control
