// SPDX-License-Identifier: Apache-2.0
#include "devices/caps.h"

#include <array>

#include "core/files.h"
#include "ds01/abi.h"

namespace ds01::devices {
namespace {

struct Family {
  std::uint32_t number;
  std::string_view prefix;
};
constexpr std::array kFamilies{Family{DS01_CAPS_NVIDIA, "nvidia-cap"}, Family{DS01_CAPS_IMEX, "imex-channel"}};

constexpr std::string_view kSuffix = "-minors";
constexpr std::size_t kFileSize = 1 << 20;

std::optional<std::uint32_t> parse_minor(std::string_view text) {
  const auto minor = parse_number(text);
  if (!minor || *minor > DS01_MINOR_MASK) return std::nullopt;
  return static_cast<std::uint32_t>(*minor);
}

// Lines of a name, a space and a minor.
void add_lines(CapNames& names, std::string_view text, const std::string& prefix) {
  for (const auto line : split(text, '\n')) {
    const auto space = line.rfind(' ');
    if (space == std::string_view::npos || space == 0) continue;
    if (const auto minor = parse_minor(line.substr(space + 1)))
      names.emplace(prefix + std::string(line.substr(0, space)), *minor);
  }
}

}  // namespace

std::optional<std::uint32_t> parse_cap(std::string_view name) {
  for (const auto& family : kFamilies) {
    if (!name.starts_with(family.prefix)) continue;
    if (const auto minor = parse_minor(name.substr(family.prefix.size()))) return DS01_DEV(family.number, *minor);
  }
  return std::nullopt;
}

std::string cap_name(std::uint32_t cap) {
  for (const auto& family : kFamilies)
    if (DS01_DEV(family.number, cap & DS01_MINOR_MASK) == cap)
      return std::string(family.prefix) + std::to_string(cap & DS01_MINOR_MASK);
  return "";
}

CapNames list_caps(const std::filesystem::path& proc) {
  CapNames names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(proc / "driver/nvidia-caps", ignored)) {
    const auto file = entry.path().filename().string();
    if (!file.ends_with(kSuffix)) continue;
    if (const auto text = read_file(entry.path(), kFileSize))
      add_lines(names, *text, file.substr(0, file.size() - kSuffix.size()) + "/");
  }
  return names;
}

}  // namespace ds01::devices
