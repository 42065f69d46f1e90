// SPDX-License-Identifier: Apache-2.0
// The routes about requests.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/api.h"
#include "control/bodies.h"
#include "control/json.h"
#include "core/text.h"

namespace ds01::control {
namespace {

// Asked by the caller's uid, and by the account that has it now.
bool is_of(const grants::Request& request, const grants::Actor& caller) {
  return request.who.uid == caller.uid && request.who.name == caller.name;
}

// A request with the grant that it led to, so that nobody has to ask for that as well.
boost::json::object with_grant(const grants::Request& request, const std::optional<grants::Grant>& grant,
                               const Clock& clock) {
  auto out = to_json(request, clock);
  out["grant"] = nullptr;
  if (grant) out["grant"] = to_json(*grant, clock);
  return out;
}

}  // namespace

std::uint64_t Api::living_number(uid_t uid) const {
  const auto* grant = deps_.grants.living_for_uid(uid);
  return grant == nullptr ? 0 : grant->number;
}

Api::Reply Api::list_requests(const Call& call) {
  DS01_TRY(const bool all, flag_of(call.query, "all"));
  DS01_TRY(const auto range, range_of(call.query));
  std::optional<uid_t> uid;
  if (!call.caller.admin) uid = call.caller.actor.uid;
  if (uid) DS01_CHECK(check_on_host(call, "requests are listed"));
  DS01_TRY(const auto page, deps_.requests.list(all, uid, range.limit, range.cursor));
  boost::json::array out;
  for (const auto& request : page.requests)
    if (call.caller.admin || is_of(request, call.caller.actor)) out.push_back(to_json(request, deps_.clock));
  return page_response(out, page.next);
}

Api::Reply Api::get_request(const Call& call) {
  if (!call.caller.admin) DS01_CHECK(check_on_host(call, "requests are shown"));
  const auto request = deps_.requests.find(call.rest);
  const bool unknown = !request && request.error().code == ErrorCode::system;
  if (!call.caller.admin && !unknown && !(request && is_of(*request, call.caller.actor)))
    // The same answer whether it exists or not: users learn nothing about others.
    return fail(ErrorCode::not_found,
                fmt::format("you have no request {}: see ds01ctl requests --all", in_quotes(call.rest)));
  if (!request) return std::unexpected(request.error());
  return json_response(to_json(*request, deps_.clock));
}

Api::Reply Api::post_request(const Call& call) {
  DS01_CHECK(check_on_host(call, "requests are made"));
  DS01_TRY(const auto ask, parse_ask(call.request.body));
  const auto& who = call.caller.actor;
  if (who.uid == 0) return fail(ErrorCode::invalid, "root needs no grant on the host, so there is nothing to ask for");
  const auto before = living_number(who.uid);
  DS01_TRY(const auto request, deps_.requests.ask(ask, who));
  deps_.trail.requested(request);
  std::optional<grants::Grant> grant;
  if (request.state == grants::RequestState::approved) {
    // By a rule of the configuration: the user reads it in this answer, and needs no notice.
    deps_.trail.answered(request);
    if (auto found = deps_.grants.find(fmt::format("g-{}", request.grant.value_or(0)))) grant = *std::move(found);
    if (grant) record_grant(*grant, before);
  }
  deps_.on_change();
  return json_response(with_grant(request, grant, deps_.clock), 201);
}

Api::Reply Api::approve_request(const Call& call) {
  DS01_TRY(const auto duration, parse_approval(call.request.body));
  const auto pending = deps_.requests.find(call.rest);
  const auto before = pending ? living_number(pending->who.uid) : 0;
  DS01_TRY(const auto approved, deps_.requests.approve(call.rest, duration, call.caller.actor));
  deps_.trail.answered(approved.request);
  record_grant(approved.grant, before);
  deps_.announcer.approved(approved.request, approved.grant);
  deps_.on_change();
  return json_response(with_grant(approved.request, approved.grant, deps_.clock));
}

Api::Reply Api::deny_request(const Call& call) {
  DS01_TRY(const auto reason, parse_denial(call.request.body));
  DS01_TRY(const auto request, deps_.requests.deny(call.rest, reason, call.caller.actor));
  deps_.trail.answered(request);
  // Whoever has the uid now may not be the one who asked.
  const auto name = deps_.users.name_of(request.who.uid);
  if (!name || *name == request.who.name) deps_.announcer.denied(request);
  deps_.on_change();
  return json_response(to_json(request, deps_.clock));
}

}  // namespace ds01::control
