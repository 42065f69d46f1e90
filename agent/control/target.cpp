// SPDX-License-Identifier: Apache-2.0
#include "control/target.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/text.h"
#include "devices/caps.h"
#include "devices/nodes.h"

namespace ds01::control {
namespace {

constexpr const char* kUsual = "/dev/nvidia0";

const devices::DeviceRange* range_of(const policy::Resolved& resolved, std::uint32_t device) {
  const auto minor = device & DS01_MINOR_MASK;
  for (const auto& range : resolved.devices)
    if (range.major == device >> 20 && minor >= range.first_minor && minor <= range.last_minor) return &range;
  return nullptr;
}

Asked asked_of(const devices::DeviceRange& range, std::uint32_t minor) {
  Asked asked{range.device_class, range.index, ""};
  if (range.index_is_minor) asked.index = minor;
  if (range.cap_family != 0) asked.cap = devices::cap_name(DS01_DEV(std::uint32_t{range.cap_family}, minor));
  return asked;
}

std::string name_of(const Asked& asked) {
  std::string name(config::to_string(asked.device_class));
  return asked.device_class == config::DeviceClass::gpu ? name + std::to_string(asked.index.value_or(0)) : name;
}

Target target_of(std::uint32_t device, const std::string& path, const policy::Resolved& resolved,
                 const devices::Machine& machine) {
  Target target{device, path, path, std::nullopt, false};
  if (const auto* range = range_of(resolved, device)) target.gated = asked_of(*range, target.minor());
  if (target.gated) target.name = name_of(*target.gated);
  target.has_driver =
      std::ranges::any_of(machine.majors, [&](const auto& entry) { return entry.second == target.major(); });
  return target;
}

// A gated device without a node: its driver is not loaded, or nobody has made the node yet.
std::optional<std::uint32_t> number_of(const std::string& name, const policy::Resolved& resolved) {
  for (const auto& range : resolved.devices)
    for (auto minor = range.first_minor; minor <= range.last_minor; ++minor) {
      if (name.empty() || name_of(asked_of(range, minor)) == name) return DS01_DEV(range.major, minor);
      if (!range.index_is_minor) break;  // all of them have one name
    }
  return std::nullopt;
}

}  // namespace

Result<Target> find_target(const std::string& text, const policy::Resolved& resolved, const devices::Machine& machine,
                           const Roots& roots) {
  const auto path = text.empty() ? std::string(kUsual) : text;
  if (path.starts_with('/')) {
    auto node = devices::look_up(roots.process, path);
    if (!node) node = devices::look_up(roots.host, path);
    if (node) return target_of(node->device, path, resolved, machine);
    if (!text.empty()) return std::unexpected(node.error());
  }
  for (const auto& node : devices::list_nodes(roots.host)) {
    auto target = target_of(node.device, node.path, resolved, machine);
    if (target.gated && (text.empty() || target.name == text)) return target;
  }
  if (const auto number = number_of(text, resolved)) return target_of(*number, "", resolved, machine);
  return fail(
      ErrorCode::not_found,
      fmt::format("there is no gated device {}: name it as ds01ctl holders does, or by its path", in_quotes(text)));
}

}  // namespace ds01::control
