// SPDX-License-Identifier: Apache-2.0
// The kernel side as an object: the loaded programs, their links and their maps. Only kernel/ knows libbpf.
// One thread at a time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
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

// Event losses since the maps were made, by enum ds01_loss.
using Losses = std::array<std::uint64_t, DS01_LOSS_COUNT>;

class Programs;

class Gate final : public grants::KernelMap {
 public:
  // Opens the programs for enforcement: takes over those that are pinned below `pins` where they are of this build, and
  // otherwise loads them, on the maps that are there. Programs that run already go on. Without BTF, privileges or a
  // kernel feature it fails with what the kernel said and what to do.
  static Result<std::unique_ptr<Gate>> open(const std::filesystem::path& pins);
  // Loads the programs with maps of their own; they are attached exactly as long as the Gate lives.
  static Result<std::unique_ptr<Gate>> load();
  ~Gate() override;

  // Whether programs of an earlier agent were attached at open(), and whether this object's maps are those that they
  // decide by. Maps that an agent made and never got as far as finishing an upgrade on are not.
  bool was_attached() const;
  bool had_maps() const;

  // Attaches every program, or none. From here on the policy set before is enforced. Older programs stay attached
  // besides, and one of the two reports each event.
  Status attach();
  bool attached() const;
  // Undoes attach().
  void withdraw();
  // Pins what is attached, so that it outlives the agent, and detaches older programs.
  Status commit();
  // Of the programs that attach() attached; each event names it.
  std::uint64_t generation() const;

  // Replaces the whole policy at once. When it returns, no program still uses the old one. On error the old one stands.
  Status set_policy(std::span<const Rule> rules);

  // Tells the programs how far the wall clock is from the boot clock.
  void set_clocks(std::chrono::nanoseconds wall_minus_boot);

  // Keeps the mode set by hand beside the maps, for a later agent whose store cannot be read.
  static constexpr std::uint8_t kUnknownMode = 0xff;
  struct KeptMode {
    std::uint8_t mode;    // enum ds01_mode, or kUnknownMode
    std::uint64_t until;  // boot clock; DS01_NEVER: until it is reset
  };
  void keep_mode(const std::optional<KeptMode>& mode);
  std::optional<KeptMode> kept_mode() const;

  // Takes effect at once; when it returns no program still decides by what was there before.
  Status put(std::span<const grants::KernelGrant> grants) override;
  Status erase(std::span<const ds01_subject> subjects) override;
  Status settle() override;
  Result<std::vector<grants::KernelGrant>> entries() const override;

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
  static Result<std::unique_ptr<Gate>> make(std::unique_ptr<Programs> programs);
  explicit Gate(std::unique_ptr<Impl> impl);
  Status wait_for_programs();
  std::unique_ptr<Impl> impl_;
};

// Removes all pins, so that nothing is gated any more once no agent runs. An agent that lives is ErrorCode::conflict.
Status remove_pins(const std::filesystem::path& pins);

}  // namespace ds01::kernel
