// SPDX-License-Identifier: Apache-2.0
#include "devices/devices.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "ds01/abi.h"

namespace ds01::devices {
namespace {

using Nodes = decltype(config::DeviceRule::nodes);

// mem, tty, console and pts: every program needs them.
constexpr std::array kVital{1U, 4U, 5U, 136U};

constexpr std::uint32_t kLastIndex = DS01_GPU_WORDS * 64 - 1;

Status add(std::vector<DeviceRange>& ranges, const DeviceRange& range, const std::string& where) {
  if (std::ranges::find(kVital, range.major) != kVital.end())
    return fail(
        ErrorCode::invalid,
        fmt::format("{}: major {} is needed by every program; gating it would stop the machine", where, range.major));
  if (std::ranges::find(ranges, range) == ranges.end()) ranges.push_back(range);
  return {};
}

// Capability nodes can be granted by name where it is known what their minors mean.
std::uint16_t cap_family(const config::DeviceRule& rule) {
  if (rule.device_class != config::DeviceClass::capability) return 0;
  if (rule.nodes == Nodes("nvidia-caps")) return DS01_CAPS_NVIDIA;
  if (rule.nodes == Nodes("nvidia-caps-imex-channels")) return DS01_CAPS_IMEX;
  return 0;
}

Status add_major(std::vector<DeviceRange>& ranges, const config::DeviceRule& rule, std::uint32_t major) {
  if (rule.index_is_minor && rule.last_minor > kLastIndex)
    return fail(ErrorCode::invalid,
                fmt::format("{}: 'index: minor' goes up to minor {}; give a smaller range or 'index: none'", rule.where,
                            kLastIndex));
  return add(ranges,
             {major, rule.first_minor, rule.last_minor, rule.device_class, rule.index_is_minor, {}, cap_family(rule)},
             rule.where);
}

// By its name a driver is gated whole, so one that is registered must not be waited for if its rules leave minors out.
Status add_driver(Gated& gated, const config::DeviceRule& rule, const std::string& name, const Majors& majors) {
  const auto [first, last] = majors.equal_range(name);
  for (auto entry = first; entry != last; ++entry) DS01_CHECK(add_major(gated.ranges, rule, entry->second));
  const bool whole = rule.first_minor == 0 && rule.last_minor == DS01_MINOR_MASK;
  if (whole || first == last) gated.drivers.push_back({name, rule.device_class, cap_family(rule)});
  return {};
}

Status add_vendor(std::vector<DeviceRange>& ranges, const config::DeviceRule& rule, config::Vendor vendor,
                  const std::vector<PciNode>& nodes) {
  for (const auto& node : nodes)
    if (node.vendor == vendor.id)
      DS01_CHECK(add(ranges, {node.major, node.minor, node.minor, rule.device_class, false, node.index}, rule.where));
  return {};
}

}  // namespace

Result<Gated> resolve(const std::vector<config::DeviceRule>& rules, const Machine& machine) {
  Gated gated;
  for (const auto& rule : rules) {
    if (const auto* number = std::get_if<std::uint32_t>(&rule.nodes))
      DS01_CHECK(add_major(gated.ranges, rule, *number));
    if (const auto* name = std::get_if<std::string>(&rule.nodes))
      DS01_CHECK(add_driver(gated, rule, *name, machine.majors));
    if (const auto* vendor = std::get_if<config::Vendor>(&rule.nodes))
      DS01_CHECK(add_vendor(gated.ranges, rule, *vendor, machine.nodes));
  }
  return gated;
}

std::string place_of(const std::vector<config::DeviceRule>& rules, const Machine& machine, std::uint32_t device) {
  const auto covers = [&](const DeviceRange& range) {
    const auto minor = device & DS01_MINOR_MASK;
    return device >> 20 == range.major && minor >= range.first_minor && minor <= range.last_minor;
  };
  for (const auto& rule : rules) {
    const auto gated = resolve({rule}, machine);
    if (gated && std::ranges::any_of(gated->ranges, covers)) return rule.where;
  }
  return "";
}

std::string hook_name(std::uint16_t hook) {
  static constexpr std::array<std::string_view, DS01_HOOK_COUNT> kNames{
      "open", "connect", "ioctl", "mmap", "receive", "umount", "unlink", "map", "program", "detach", "kill", "ptrace"};
  return std::string(hook < kNames.size() ? kNames[hook] : "unknown");
}

std::string class_name(std::uint16_t device_class) {
  static constexpr std::array<std::string_view, DS01_CLASS_COUNT> kNames{
      "selftest", "gpu", "control", "compute", "capability", "fabric", "dri", "admin.sock", "gate"};
  return std::string(device_class < kNames.size() ? kNames[device_class] : "unknown");
}

std::string device_name(std::uint16_t device_class, std::uint16_t index) {
  return class_name(device_class) + (device_class == DS01_CLASS_GPU ? std::to_string(index) : "");
}

}  // namespace ds01::devices
