// SPDX-License-Identifier: Apache-2.0
// The kernel side as an object: the loaded programs, their links and their maps. Only kernel/ knows libbpf.
// One thread at a time. The programs are attached exactly as long as the Gate lives.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "ds01/abi.h"
#include "grants/kernel_map.h"
#include "policy/rule.h"

namespace ds01::kernel {

using policy::Rule;

struct Count {
  ds01_count_key key;
  ds01_count value;
};

// Event losses since loading, by enum ds01_loss.
using Losses = std::array<std::uint64_t, DS01_LOSS_COUNT>;

class Gate final : public grants::KernelMap {
 public:
  // Opens and verifies the programs and creates the maps; nothing runs yet. Without BTF, privileges or a kernel feature
  // it fails with what the kernel said and what to do.
  static Result<std::unique_ptr<Gate>> load();
  ~Gate() override;

  // Attaches every program, or none. From here on the policy set before is enforced.
  Status attach();
  bool attached() const;

  // Replaces the whole policy at once. When it returns, no program still uses the old one. On error the old one stands.
  Status set_policy(std::span<const Rule> rules);

  // Both take effect at once; when they return no program still decides by what was there before.
  Status put(std::span<const grants::KernelGrant> grants) override;
  Status erase(std::span<const ds01_subject> subjects) override;

  // Every count the kernel keeps. A concurrent insertion may be missed until the next call; none is counted twice.
  Result<std::vector<Count>> counts() const;
  Losses losses() const;
  // Programs skipped by the kernel's recursion guard; anything above zero is a hole in the gate.
  std::uint64_t recursion_misses() const;

  // Readable when events wait; consume_events hands over all that are there.
  int events_fd() const;
  Status consume_events(const std::function<void(const ds01_event&)>& take);

 private:
  struct Impl;
  explicit Gate(std::unique_ptr<Impl> impl);
  Status wait_for_programs();
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds01::kernel
