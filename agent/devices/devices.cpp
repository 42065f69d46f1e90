// SPDX-License-Identifier: Apache-2.0
#include "devices/devices.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/files.h"
#include "ds01/abi.h"

namespace ds01::devices {
namespace {

// mem, tty, console and pts: every program needs them.
constexpr std::array kVital{1U, 4U, 5U, 136U};

constexpr std::uint32_t kLastIndex = DS01_GPU_WORDS * 64 - 1;

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Status add_range(std::vector<DeviceRange>& ranges, const config::DeviceRule& rule, std::uint32_t major) {
  if (std::ranges::find(kVital, major) != kVital.end())
    return fail(
        ErrorCode::invalid,
        fmt::format("{}: major {} is needed by every program; gating it would stop the machine", rule.where, major));
  if (rule.index_is_minor && rule.last_minor > kLastIndex)
    return fail(ErrorCode::invalid,
                fmt::format("{}: 'index: minor' goes up to minor {}; give a smaller range or 'index: none'", rule.where,
                            kLastIndex));
  const DeviceRange range{major, rule.first_minor, rule.last_minor, rule.device_class, rule.index_is_minor};
  if (std::ranges::find(ranges, range) == ranges.end()) ranges.push_back(range);
  return {};
}

// By its name a driver is gated whole, so one that is registered must not be waited for if its rules leave minors out.
Status add_driver(Gated& gated, const config::DeviceRule& rule, const std::string& name, const Majors& majors) {
  const auto [first, last] = majors.equal_range(name);
  for (auto entry = first; entry != last; ++entry) DS01_CHECK(add_range(gated.ranges, rule, entry->second));
  const bool whole = rule.first_minor == 0 && rule.last_minor == DS01_MINOR_MASK;
  if (whole || first == last) gated.drivers.push_back({name, rule.device_class});
  return {};
}

// The value of a "Key: value" line in the driver's information file.
std::string_view field(std::string_view text, std::string_view key) {
  for (const auto line : split(text, '\n')) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) return trim(line.substr(colon + 1));
  }
  return {};
}

}  // namespace

Majors parse_majors(std::string_view text) {
  Majors majors;
  bool characters = false;
  for (const auto raw : split(text, '\n')) {
    const auto line = trim(raw);
    // The whole line: a driver's name may look like a heading, but a number stands before it.
    if (line == "Character devices:" || line == "Block devices:") characters = line.starts_with("Character");
    const auto space = line.find(' ');
    if (!characters || space == std::string_view::npos) continue;
    const auto major = parse_number(line.substr(0, space));
    if (major && *major < 4096) majors.emplace(trim(line.substr(space)), static_cast<std::uint32_t>(*major));
  }
  return majors;
}

Result<Gated> resolve(const std::vector<config::DeviceRule>& rules, const Majors& majors) {
  Gated gated;
  for (const auto& rule : rules) {
    if (const auto* number = std::get_if<std::uint32_t>(&rule.major))
      DS01_CHECK(add_range(gated.ranges, rule, *number));
    else
      DS01_CHECK(add_driver(gated, rule, std::get<std::string>(rule.major), majors));
  }
  return gated;
}

std::vector<Gpu> list_gpus(const std::filesystem::path& proc) {
  std::vector<Gpu> gpus;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(proc / "driver/nvidia/gpus", ignored)) {
    const auto text = read_file(entry.path() / "information", 16384);
    if (!text) continue;
    const auto minor = parse_number(field(*text, "Device Minor"));
    if (minor) gpus.push_back({static_cast<std::uint32_t>(*minor), std::string(field(*text, "GPU UUID"))});
  }
  std::ranges::sort(gpus, {}, &Gpu::index);
  return gpus;
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
