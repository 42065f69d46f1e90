// SPDX-License-Identifier: Apache-2.0
#include "control/access.h"

#include <fmt/format.h>

namespace ds01::control {
namespace {

// The allowed cgroup that `cgroup` lies in or is; "" if there is none.
std::string allowed_cgroup(const config::Config& config, const std::string& cgroup) {
  for (const auto& allowed : config.allow_cgroups)
    if (cgroup == allowed || cgroup.starts_with(allowed + "/")) return allowed;
  return "";
}

// A grant whose time is over stays in the list until its turn to be taken out; the kernel denies it already.
bool is_in_force(const grants::Grant& grant, const Clock& clock) {
  return grant.state == grants::State::active && !has_ended(grant.end, clock);
}

std::string why_denied(const Situation& now) {
  if (!now.caller.on_host) return "in a container outside the allowed cgroups, where rights of users do not count";
  if (now.own != nullptr && now.own->state == grants::State::suspended)
    return fmt::format("{} is suspended: the account has changed; ask an admin", now.own->id());
  return "no grant; ask for one: ds01ctl request 24h --reason TEXT";
}

Access in_full_mode(const Situation& now) {
  const auto uid = now.caller.actor.uid;
  const bool on_host = now.caller.on_host;
  if (now.resolved.denied_uids.contains(uid)) return {false, "denied by configuration (deny.users)"};
  if (uid == 0 && on_host) return {true, "root on the host"};
  if (on_host && now.resolved.exempt_uids.contains(uid)) return {true, "exempt by configuration (exempt)"};
  if (const auto slice = allowed_cgroup(now.config, now.caller.cgroup); !slice.empty())
    return {true, fmt::format("in the allowed cgroup {}", slice)};
  if (on_host && now.own != nullptr && is_in_force(*now.own, now.clock))
    return {true, fmt::format("{} for {}", now.own->id(), now.own->scope())};
  if (now.cgroup && is_in_force(*now.cgroup, now.clock))
    return {true, fmt::format("{} of {} for {}", now.cgroup->id(), now.cgroup->subject.display(), now.cgroup->scope())};
  return {false, why_denied(now)};
}

}  // namespace

Access access_in(const Situation& now) {
  if (!now.attached) return {true, "the gate is not attached"};
  if (now.mode == config::Mode::disabled) return {true, "the gate is disabled"};
  auto access = in_full_mode(now);
  if (access.allowed || now.mode == config::Mode::full) return access;
  return {true, fmt::format("the gate only monitors; in full mode this would be denied: {}", access.why)};
}

std::optional<grants::Grant> grant_of_cgroup(const grants::Service& service, std::string cgroup) {
  const auto granted = service.cgroup_paths();
  for (; cgroup.size() > 1 && cgroup.front() == '/'; cgroup.resize(cgroup.rfind('/')))
    if (granted.contains(cgroup))
      if (auto grant = service.find("cgroup:" + cgroup)) return *std::move(grant);
  return std::nullopt;
}

}  // namespace ds01::control
