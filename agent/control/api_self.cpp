// SPDX-License-Identifier: Apache-2.0
// The routes about the caller: what they may do now, and what they were told.
#include <boost/json.hpp>

#include "control/access.h"
#include "control/api.h"
#include "control/bodies.h"
#include "control/json.h"

namespace ds01::control {

namespace json = boost::json;

// In a container the uid may be anybody's. A store that cannot be read is for `status` to tell, not for here.
json::array Api::notices_for(const authz::Caller& caller) const {
  if (!caller.on_host) return {};
  return notices_json(deps_.notifier.pending(caller.actor.uid).value_or(std::vector<notify::Notice>{}));
}

Api::Reply Api::get_whoami(const Call& call) {
  const auto& caller = call.caller;
  const auto& enforcer = deps_.enforcer;
  const auto* own = deps_.grants.living_for_uid(caller.actor.uid);
  const auto mode = enforcer.mode_now();
  const auto access = access_in({caller, deps_.clock, enforcer.config(), enforcer.resolved(), enforcer.attached(), mode,
                                 own, grant_of_cgroup(deps_.grants, caller.cgroup)});
  return json_response(json::object{
      {"user", caller.actor.name},
      {"uid", caller.actor.uid},
      {"admin", caller.admin},
      {"mode", config::to_string(mode)},
      {"access", access.allowed ? "allowed" : "denied"},
      {"why", access.why},
      {"grant", own != nullptr ? json::value(to_json(*own, deps_.clock)) : json::value()},
      {"notices", notices_for(caller)},
  });
}

Api::Reply Api::post_seen(const Call& call) {
  DS01_CHECK(check_on_host(call, "notices are read"));
  DS01_TRY(const auto number, parse_seen(call.request.body));
  DS01_CHECK(deps_.notifier.seen(call.caller.actor.uid, number));
  return json_response(json::object{{"number", number}});
}

}  // namespace ds01::control
