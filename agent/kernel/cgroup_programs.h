// SPDX-License-Identifier: Apache-2.0
// Other programs on cgroups that decide about device nodes. What they would say cannot be asked.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.h"

namespace ds01::kernel {

// Those of `cgroup` ("/a/b") and the cgroups above it that have such a program, as systemd attaches one for
// DevicePolicy= and container runtimes for --device. The root of the hierarchy is left out: there our own may be.
Result<std::vector<std::string>> cgroups_with_device_programs(const std::filesystem::path& root, std::string cgroup);

}  // namespace ds01::kernel
