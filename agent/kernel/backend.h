// SPDX-License-Identifier: Apache-2.0
// How the kernel is made to ask us: as a BPF LSM, or where that is off, by the next best way.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ds01::kernel {

enum class Backend {
  bpf_lsm,        // every program is an LSM program
  cgroup_device,  // open() is decided by a program on the root cgroup, the rest by fmod_ret programs on security_*()
};

std::string_view to_string(Backend backend);

struct Choice {
  Backend backend;
  std::string why;  // what keeps from a better one, and what to do about it; empty for the best
};

// Kernels without `bpf` in their LSM list load and attach LSM programs without an error and never call them. `list` is
// /sys/kernel/security/lsm; one that cannot be read proves nothing: then it is the LSM, and the self-test decides.
Choice choose_backend(const std::filesystem::path& list);

}  // namespace ds01::kernel
