// SPDX-License-Identifier: Apache-2.0
// NVIDIA's capability and IMEX nodes by name. Their descriptors are tokens, so that a grant names each node it opens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ds01::devices {

// "nvidia-cap30" or "imex-channel0" as DS01_DEV(family, minor).
std::optional<std::uint32_t> parse_cap(std::string_view name);
// The reverse.
std::string cap_name(std::uint32_t cap);

// Minors of nvidia-caps by what they are for: "mig/gpu0/gi1/access".
using CapNames = std::map<std::string, std::uint32_t, std::less<>>;

// What the driver lists in `proc`/driver/nvidia-caps/{mig,nvlink,sys}-minors; nothing without the driver.
CapNames list_caps(const std::filesystem::path& proc);

}  // namespace ds01::devices
