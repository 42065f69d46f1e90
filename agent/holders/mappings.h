// SPDX-License-Identifier: Apache-2.0
// Mapped devices, from /proc/PID/maps: for kernels without an iterator over mappings (before 5.12).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/result.h"

namespace ds01::holders {

struct Mapping {
  pid_t pid;
  std::uint32_t device;  // as in ds01/abi.h
};

// One entry per mapping of a character device below /dev, of all processes below `proc`. A process that ends meanwhile
// is left out.
Result<std::vector<Mapping>> read_mappings(const std::filesystem::path& proc);

}  // namespace ds01::holders
