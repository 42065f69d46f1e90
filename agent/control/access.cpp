// SPDX-License-Identifier: Apache-2.0
#include "control/access.h"

#include <algorithm>

#include <fmt/format.h>

namespace ds01::control {
namespace {

// The one of `paths` that `cgroup` lies in or is; "" if there is none.
std::string found_in(const std::vector<std::string>& paths, const std::string& cgroup) {
  for (const auto& path : paths)
    if (cgroup == path || cgroup.starts_with(path + "/")) return path;
  return "";
}

bool covers(const grants::Grant& grant, const std::optional<Asked>& device) {
  if (!device) return true;
  if (device->device_class == config::DeviceClass::fabric) return false;
  if (device->device_class == config::DeviceClass::capability)
    return std::ranges::find(grant.caps, device->cap) != grant.caps.end();
  if (!grant.gpus || !device->index) return true;
  return std::ranges::find(*grant.gpus, *device->index, &devices::Gpu::index) != grant.gpus->end();
}

bool is_open_to_all(const Situation& now) {
  return now.resolved.open_telemetry && now.device &&
         (now.device->device_class == config::DeviceClass::gpu ||
          now.device->device_class == config::DeviceClass::control);
}

// A grant whose time is over stays in the list until its turn to be taken out; the kernel denies it already.
bool is_in_force(const grants::Grant& grant, const Clock& clock) {
  return grant.state == grants::State::active && !has_ended(grant.end, clock);
}

Access not_covered(const grants::Grant& grant) {
  return {false, fmt::format("{} for {} does not cover this device", grant.id(), grant.scope()), 6,
          grant.id() + " does not cover this device"};
}

Access denied(const Situation& now) {
  if (!now.caller.on_host)
    return {false, "in a container outside the allowed cgroups, where rights of users do not count", 6,
            "in a container outside the allowed cgroups"};

  if (now.own != nullptr && now.own->state == grants::State::suspended)
    return {false, fmt::format("{} is suspended: the account has changed; ask an admin", now.own->id()), 6,
            now.own->id() + " is suspended"};
  if (now.own != nullptr && is_in_force(*now.own, now.clock)) return not_covered(*now.own);
  if (now.cgroup && is_in_force(*now.cgroup, now.clock)) return not_covered(*now.cgroup);
  return {false, "no grant; ask for one: ds01ctl request 24h --reason TEXT", 6, "no grant"};
}

Access in_full_mode(const Situation& now) {
  const auto uid = now.caller.actor.uid;
  const bool on_host = now.caller.on_host;
  if (now.resolved.denied_uids.contains(uid)) return {false, "denied by configuration (deny.users)", 1, "deny.users"};
  if (uid == 0 && on_host) return {true, "root on the host", 2, "root on the host"};
  if (on_host && now.resolved.exempt_uids.contains(uid))
    return {true, "exempt by configuration (exempt)", 2, "exempt.users or exempt.groups"};
  if (const auto slice = found_in(now.config.exempt_cgroups, now.caller.cgroup); on_host && !slice.empty())
    return {true, fmt::format("in the exempt cgroup {}", slice), 2, "exempt.cgroups"};
  if (const auto slice = found_in(now.config.allow_cgroups, now.caller.cgroup); !slice.empty())
    return {true, fmt::format("in the allowed cgroup {}", slice), 3, "allow.cgroups"};
  if (is_open_to_all(now)) return {true, "open to everybody (telemetry)", 3, "telemetry"};
  if (on_host && now.own != nullptr && is_in_force(*now.own, now.clock) && covers(*now.own, now.device))
    return {true, fmt::format("{} for {}", now.own->id(), now.own->scope()), 4, now.own->id()};
  if (now.cgroup && is_in_force(*now.cgroup, now.clock) && covers(*now.cgroup, now.device))
    return {true, fmt::format("{} of {} for {}", now.cgroup->id(), now.cgroup->subject.display(), now.cgroup->scope()),
            5, now.cgroup->id()};
  return denied(now);
}

}  // namespace

Access access_in(const Situation& now) {
  if (!now.attached) return {true, "the gate is not attached", 0, ""};
  if (now.mode == config::Mode::disabled) return {true, "the gate is disabled", 0, ""};
  auto access = in_full_mode(now);
  if (access.allowed || now.mode == config::Mode::full) return access;
  return {true, fmt::format("the gate only monitors; in full mode this would be denied: {}", access.why), access.order,
          access.rule};
}

std::optional<grants::Grant> grant_of_cgroup(const grants::Service& service, std::string cgroup) {
  const auto granted = service.cgroup_paths();
  for (; cgroup.size() > 1 && cgroup.front() == '/'; cgroup.resize(cgroup.rfind('/')))
    if (granted.contains(cgroup))
      if (auto grant = service.find("cgroup:" + cgroup)) return *std::move(grant);
  return std::nullopt;
}

}  // namespace ds01::control
