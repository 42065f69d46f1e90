// SPDX-License-Identifier: Apache-2.0
// The route that says which layer lets somebody open a device, or keeps them from it.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/api.h"
#include "core/files.h"
#include "core/text.h"
#include "identity/process.h"
#include "kernel/cgroup_programs.h"

namespace ds01::control {
namespace {

std::unexpected<Error> not_yours() {
  return fail(ErrorCode::refused, "only admins may ask about others: ds01ctl explain with your own name or process");
}

}  // namespace

// As in a login on the host.
Result<Questioned> Api::questioned_user(const Call& call) const {
  DS01_TRY(const auto uid, identity::find_uid(deps_.users, text_of(call.query, "user")));
  if (!call.caller.admin && uid != call.caller.actor.uid) return not_yours();
  DS01_TRY(auto groups, deps_.users.groups_of(uid));
  return Questioned{identity::display_name(deps_.users, uid),
                    uid,
                    std::nullopt,
                    "",
                    fmt::format("/user.slice/user-{}.slice", uid),
                    {uid, std::move(groups), uid == 0},
                    true,
                    deps_.proc / "1/root"};
}

Result<Questioned> Api::questioned_process(const Call& call) const {
  const auto text = text_of(call.query, "pid");
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > 1U << 30)
    return fail(ErrorCode::invalid, fmt::format("{} is not a process id", in_quotes(text)));
  const auto pid = static_cast<pid_t>(*number);
  DS01_TRY(auto rights, identity::read_rights(deps_.proc, pid));
  if (!call.caller.admin && rights.uid != call.caller.actor.uid) return not_yours();
  const auto process = identity::read_process(deps_.proc, pid);
  return Questioned{identity::display_name(deps_.users, rights.uid),
                    rights.uid,
                    pid,
                    std::move(rights.comm),
                    process ? process->cgroup : "",
                    {rights.file_uid, std::move(rights.groups), rights.overrides_modes},
                    identity::is_on_host(deps_.proc, pid).value_or(false),
                    deps_.proc / std::to_string(pid) / "root"};
}

// A process is for the kernel to judge; of a user without one, what it would say of a login.
Result<Access> Api::gate_on(const Questioned& who, const Target& target) const {
  const auto& enforcer = deps_.enforcer;
  if (who.pid && enforcer.attached()) {
    DS01_TRY(const auto answer, deps_.source.ask(*who.pid, target.device));
    if (!answer || answer->uid != who.uid)
      return fail(ErrorCode::not_found, fmt::format("there is no process {} of {} any more", *who.pid, who.user));
    return access_of(*answer, true, enforcer.mode_now());
  }
  if (!target.gated && enforcer.attached()) return Access{true, "the device is not gated", 0, ""};
  const authz::Caller login{{who.uid, who.user, std::nullopt}, 0, false, who.on_host, who.cgroup};
  return access_in({login, deps_.clock, enforcer.config(), enforcer.resolved(), enforcer.attached(),
                    enforcer.mode_now(), deps_.grants.living_for_uid(who.uid),
                    grant_of_cgroup(deps_.grants, who.cgroup), target.gated});
}

Api::Reply Api::get_explain(const Call& call) {
  DS01_CHECK(check_on_host(call, "explanations are given"));
  if (call.query.contains("user") == call.query.contains("pid"))
    return fail(ErrorCode::invalid, "give either 'user' or 'pid'");
  DS01_TRY(const auto who, call.query.contains("user") ? questioned_user(call) : questioned_process(call));
  const auto& enforcer = deps_.enforcer;
  const auto machine = enforcer.machine().value_or(devices::Machine{});
  DS01_TRY(const auto target,
           find_target(text_of(call.query, "device"), enforcer.resolved(), machine, {deps_.proc / "1/root", who.root}));
  DS01_TRY(const auto access, gate_on(who, target));
  const auto& allowed = enforcer.config().allow_cgroups;
  const auto slice = allowed.empty() ? std::string() : allowed.front();
  const auto programs = kernel::cgroups_with_device_programs(deps_.cgroups.root(), who.cgroup);
  return json_response(to_json(Explanation{who,
                                           target,
                                           devices::place_of(enforcer.config().devices, machine, target.device),
                                           enforcer.mode_now(),
                                           access,
                                           {node_layer(target, devices::look_up(who.root, target.path), who.rights),
                                            cgroup_layer(programs), gate_layer(access, enforcer.mode_now())},
                                           slice,
                                           who.uid == call.caller.actor.uid}));
}

}  // namespace ds01::control
