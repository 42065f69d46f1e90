// SPDX-License-Identifier: Apache-2.0
// Proof that the programs run. Kernels without `bpf` in their LSM list load and attach them without an error and never
// call them, so nothing but a denial that was seen counts.
#pragma once

#include <filesystem>
#include <functional>
#include <span>

#include "core/result.h"
#include "kernel/gate.h"

namespace ds01::kernel {

// The policy key for connections to the listener bound at `path`. The path must be on a file system whose stat() device
// is its own (tmpfs, ext4, xfs; not btrfs), as /run is.
Result<ds01_rule_key> socket_key(const std::filesystem::path& path);

// With the gate attached, has every hook of it deny this very thread once, and no other thread, and sees the errno, the
// count and the event. Adds rules of its own to `rules` for that and leaves `rules` in force. `folder` is where a
// socket may be bound for a moment, on a file system as socket_key() needs it. Events of others, among them those that
// waited in the ring already, go to `take`.
Status self_test(Gate& gate, std::span<const Rule> rules, const std::filesystem::path& folder,
                 const std::function<void(const ds01_event&)>& take = {});

}  // namespace ds01::kernel
