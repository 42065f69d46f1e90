// SPDX-License-Identifier: Apache-2.0
#include "control/explain.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "audit/trail.h"

namespace ds01::control {
namespace {

namespace json = boost::json;

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::allows: return "allows";
    case Verdict::may_deny: return "may_deny";
    case Verdict::denies: return "denies";
  }
  std::unreachable();
}

struct Line {
  int order;
  std::string_view rule;  // "": the grant's id
};

// The line of the order (bpf/decide.h) that a reason belongs to.
Line line_of(std::uint8_t reason) {
  switch (reason) {
    case DS01_BY_DENY_RULE: return {1, "deny.users"};
    case DS01_BY_HOST_ROOT: return {2, "root on the host"};
    case DS01_BY_EXEMPT_USER: return {2, "exempt.users or exempt.groups"};
    case DS01_BY_EXEMPT_CGROUP: return {2, "exempt.cgroups or exempt.rules"};
    case DS01_BY_ALLOWED_CGROUP: return {3, "allow.cgroups"};
    case DS01_BY_TELEMETRY: return {3, "telemetry"};
    case DS01_BY_USER_GRANT: return {4, ""};
    case DS01_BY_CGROUP_GRANT: return {5, ""};
    case DS01_UNGATED: return {0, "no rule"};
    default: return {6, audit::explain(reason)};
  }
}

const Layer& decisive(const std::vector<Layer>& layers) {
  const auto denying = std::ranges::find(layers, Verdict::denies, &Layer::verdict);
  return denying != layers.end() ? *denying : layers.back();
}

std::string step_at_node(const Target& target, const Questioned& who) {
  if (!target.has_driver) return "load the driver (for NVIDIA: sudo nvidia-modprobe -c 0 -u)";
  if (target.path.empty()) return "make the node (for NVIDIA: sudo nvidia-modprobe -c 0 -u)";
  if (!who.on_host) return fmt::format("give the container the device: docker run --device {} …", target.path);
  return fmt::format("put {} into the node's group, or: sudo chmod 0666 {}", who.user, target.path);
}

std::string step_at_gate(const Explanation& e) {
  if (e.access.order == 1) return fmt::format("an admin takes {} out of deny.users in agent.yaml", e.who.user);
  if (!e.who.on_host && e.allowed_slice.empty()) return "an admin names a cgroup under allow.cgroups in agent.yaml";
  if (!e.who.on_host)
    return fmt::format("start the container in the allowed slice: docker run --cgroup-parent={} …",
                       e.allowed_slice.substr(e.allowed_slice.rfind('/') + 1));
  if (e.target.gated && e.target.gated->device_class == config::DeviceClass::fabric)
    return fmt::format("no grant covers fabric nodes: an admin exempts {} in agent.yaml", e.who.user);
  if (e.target.gated && !e.target.gated->cap.empty())
    return fmt::format("sudo ds01ctl grant {} 24h --caps {} --reason TEXT", e.who.user, e.target.gated->cap);
  if (e.by_themselves) return "ds01ctl request 24h --reason TEXT";
  return fmt::format("ds01ctl grant {} 24h --reason TEXT (or {} types: ds01ctl request 24h --reason TEXT)", e.who.user,
                     e.who.user);
}

}  // namespace

Layer node_layer(const Target& target, const Result<devices::Node>& node, const devices::Credentials& who) {
  const auto& shown = target.path.empty() ? target.name : target.path;
  if (!target.has_driver)
    return {"node", Verdict::denies,
            fmt::format("the driver of {} is not loaded: /proc/devices has no major {}", shown, target.major())};
  if (target.path.empty() || (!node && node.error().code == ErrorCode::not_found))
    return {"node", Verdict::denies, fmt::format("there is no node of {} in its /dev", shown)};
  if (!node) return {"node", Verdict::may_deny, fmt::format("cannot be looked at: {}", node.error().message)};
  if (node->device != target.device)
    return {"node", Verdict::denies, fmt::format("{} is another device in its /dev", shown)};
  const auto rights = devices::file_rights(*node, who);
  const auto acl = node->has_acl ? "; its ACL may change this" : "";
  const auto otherwise = node->has_acl ? Verdict::may_deny : Verdict::denies;
  return {"node", rights.allowed ? Verdict::allows : otherwise, rights.why + acl};
}

Layer cgroup_layer(const Result<std::vector<std::string>>& with_programs) {
  if (!with_programs)
    return {"device_cgroup", Verdict::may_deny, fmt::format("cannot be looked at: {}", with_programs.error().message)};
  if (with_programs->empty()) return {"device_cgroup", Verdict::allows, "no cgroup restricts devices"};
  return {"device_cgroup", Verdict::may_deny,
          fmt::format("restricted by DevicePolicy= or a container runtime: {}", fmt::join(*with_programs, ", "))};
}

Layer gate_layer(const Access& access, config::Mode mode) {
  if (access.order == 0) return {"gate", Verdict::allows, access.why};
  const auto line = fmt::format("{} (line {} of the order, mode {})", access.order == 6 ? access.rule : access.why,
                                access.order, config::to_string(mode));
  const bool would = access.allowed && (access.order == 1 || access.order == 6);
  return {"gate", access.allowed ? Verdict::allows : Verdict::denies,
          would ? "would be denied in full mode: " + line : line};
}

Access access_of(const ds01_holder& answer, bool attached, config::Mode mode) {
  if (!attached) return {true, "the gate is not attached", 0, ""};
  if (mode == config::Mode::disabled) return {true, "the gate is disabled", 0, ""};
  if (answer.reason == DS01_UNGATED) return {true, "the device is not gated", 0, ""};
  const auto line = line_of(answer.reason);
  const auto grant = fmt::format("g-{}", answer.grant);
  std::string rule(line.rule.empty() ? grant : line.rule);
  if (line.order == 6 && answer.grant != 0) rule += fmt::format(" ({})", grant);
  if (line.order == 6 && answer.on_host == 0) rule += ", in a container outside the allowed cgroups";
  std::string why(audit::explain(answer.reason));
  if (line.rule.empty()) why += ", " + grant;
  return {answer.allowed != 0 || mode != config::Mode::full, why, line.order, rule};
}

std::string next_step(const Explanation& e) {
  const auto& layer = decisive(e.layers);
  if (layer.verdict != Verdict::denies) return "";
  return layer.name == "node" ? step_at_node(e.target, e.who) : step_at_gate(e);
}

json::object to_json(const Explanation& e) {
  const auto& layer = decisive(e.layers);
  json::array layers;
  for (const auto& one : e.layers)
    layers.push_back(json::object{{"layer", one.name}, {"verdict", to_string(one.verdict)}, {"why", one.why}});
  return {{"user", e.who.user},
          {"uid", e.who.uid},
          {"pid", e.who.pid ? json::value(*e.who.pid) : json::value()},
          {"comm", e.who.comm},
          {"cgroup", e.who.cgroup},
          {"device",
           {{"name", e.target.name},
            {"path", e.target.path},
            {"major", e.target.major()},
            {"minor", e.target.minor()},
            {"rule", e.place.empty() ? json::value() : json::value(e.place)}}},
          {"mode", config::to_string(e.mode)},
          {"allowed", layer.verdict != Verdict::denies},
          {"decided_by", layer.name},
          {"why", layer.why},
          {"order", e.access.order != 0 ? json::value(e.access.order) : json::value()},
          {"rule", e.access.rule.empty() ? json::value() : json::value(e.access.rule)},
          {"next", next_step(e)},
          {"layers", layers}};
}

}  // namespace ds01::control
