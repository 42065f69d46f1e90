// SPDX-License-Identifier: Apache-2.0
// The routes about grants.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/api.h"
#include "control/bodies.h"
#include "control/json.h"
#include "core/text.h"

namespace ds01::control {
namespace {

// The record is the caller's own: of their uid, and of the account that has it now.
bool is_of(const grants::Grant& grant, const grants::Actor& caller) {
  const auto& subject = grant.subject;
  return subject.kind == grants::Subject::Kind::user && subject.uid == caller.uid &&
         (subject.name.empty() || subject.name == caller.name);
}

}  // namespace

Api::Reply Api::list_grants(const Call& call) {
  DS01_TRY(const bool all, flag_of(call.query, "all"));
  DS01_TRY(const auto range, range_of(call.query));
  std::optional<uid_t> uid;
  if (!call.caller.admin) uid = call.caller.actor.uid;
  if (uid) DS01_CHECK(check_on_host(call, "grants are listed"));
  DS01_TRY(const auto page, deps_.grants.list(all, uid, range.limit, range.cursor));
  boost::json::array out;
  for (const auto& grant : page.grants)
    if (call.caller.admin || is_of(grant, call.caller.actor)) out.push_back(to_json(grant, deps_.clock));
  return page_response(out, page.next);
}

Api::Reply Api::get_grant(const Call& call) {
  if (!call.caller.admin) DS01_CHECK(check_on_host(call, "grants are shown"));
  const auto grant = deps_.grants.find(call.rest);
  const bool unknown = !grant && grant.error().code == ErrorCode::system;
  if (!call.caller.admin && !unknown && !(grant && is_of(*grant, call.caller.actor)))
    // The same answer whether it exists or not: users learn nothing about others.
    return fail(ErrorCode::not_found, fmt::format("you have no grant {}: see ds01ctl list", in_quotes(call.rest)));
  if (!grant) return std::unexpected(grant.error());
  return json_response(to_json(*grant, deps_.clock));
}

Api::Reply Api::post_grant(const Call& call) {
  DS01_TRY(const auto request, parse_grant_request(call.request.body));
  if (!deps_.enforcer.attached()) return get_health(call);
  const auto before = deps_.grants.find(request.subject);
  DS01_TRY(const auto grant, deps_.grants.grant(request, call.caller.actor));
  if (!request.dry_run) {
    record_grant(grant, before ? before->number : 0);
    deps_.on_change();
  }
  return json_response(to_json(grant, deps_.clock), request.dry_run ? 200 : 201);
}

void Api::record_grant(const grants::Grant& grant, std::uint64_t before) {
  if (before != 0 && before != grant.number)
    if (const auto replaced = deps_.grants.find(fmt::format("g-{}", before))) deps_.trail.revoked(*replaced);
  deps_.trail.granted(grant);
}

Api::Reply Api::extend_grant(const Call& call) {
  DS01_TRY(const auto by, parse_extension(call.request.body));
  DS01_TRY(const auto grant, deps_.grants.extend(call.rest, by));
  deps_.trail.extended(grant, call.caller.actor);
  deps_.on_change();
  return json_response(to_json(grant, deps_.clock));
}

Api::Reply Api::delete_grant(const Call& call) {
  const auto before = deps_.grants.find(call.rest);
  DS01_TRY(const auto grant, deps_.grants.revoke(call.rest, call.caller.actor, text_of(call.query, "reason")));
  deps_.trail.revoked(grant);
  deps_.on_revoked(grant);
  // The uid of a suspended grant may be somebody else's by now, whom it does not concern.
  if (before && before->state == grants::State::active) deps_.announcer.ended(grant);
  deps_.on_change();
  return json_response(to_json(grant, deps_.clock));
}

Api::Reply Api::get_history(const Call& call) {
  DS01_TRY(const auto uid, whose(call, "history"));
  DS01_TRY(const auto since, time_of(call.query, "since"));
  DS01_TRY(const auto range, range_of(call.query));
  if (!call.caller.admin) DS01_CHECK(check_on_host(call, "history is shown"));
  DS01_TRY(const auto page, deps_.grants.history(uid, since, range.limit, range.cursor));
  boost::json::array out;
  for (const auto& grant : page.grants)
    if (call.caller.admin || is_of(grant, call.caller.actor)) out.push_back(history_json(grant, deps_.clock));
  return page_response(out, page.next);
}

}  // namespace ds01::control
