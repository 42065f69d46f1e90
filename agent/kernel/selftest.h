// SPDX-License-Identifier: Apache-2.0
// Proof that the programs run. Kernels without `bpf` in their LSM list load and attach them without an error and never
// call them, so nothing but a denial that was seen counts.
#pragma once

#include <filesystem>
#include <vector>

#include "core/result.h"
#include "kernel/gate.h"

namespace ds01::kernel {

// Why BPF LSM programs cannot work here ("bpf" is not in the LSM list), or success. `list` is
// /sys/kernel/security/lsm; one that cannot be read proves nothing, and the self-test decides.
Status check_lsm_list(const std::filesystem::path& list);

// The policy key for connections to the listener bound at `path`. The path must be on a file system whose stat() device
// is its own (tmpfs, ext4, xfs; not btrfs), as /run is.
Result<ds01_rule_key> socket_key(const std::filesystem::path& path);

// With the gate attached, has every hook deny this very thread once, and no other thread, and sees the errno, the count
// and the event. Replaces the policy by its own for that and leaves an empty one, which gates nothing. `folder` is
// where a socket may be bound for a moment, on a file system as socket_key() needs it.
Status self_test(Gate& gate, const std::filesystem::path& folder);

}  // namespace ds01::kernel
