// SPDX-License-Identifier: Apache-2.0
// The programs, their links and their maps as descriptors: loaded anew, or those that an earlier agent pinned. Shared
// by the files of kernel/.
//
//   /sys/fs/bpf/ds01/v1/MAP, prog_HOOK, link_HOOK      v1: DS01_ABI_VERSION; another one has maps of its own
//
// A link lives as long as its pin or somebody's descriptor of it, so the gate stays when the agent goes.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "ds01/abi.h"

struct ds01_bpf;

namespace ds01::kernel {

enum class Origin {
  loaded,      // nothing was attached before
  taken_over,  // pinned programs of this very build; they run on
  newcomer,    // others are pinned; they run on until commit()
};

struct Maps {
  Fd policy, grants, state, reported, host_cgroups, counts, losses, buckets, events;
};

class Programs {
 public:
  // Loads the programs with maps of their own; nothing is pinned.
  static Result<std::unique_ptr<Programs>> load();
  // Takes over what is pinned below `pins`, or loads the programs, on the pinned maps where there are some. Another
  // agent that lives is ErrorCode::conflict.
  static Result<std::unique_ptr<Programs>> open(const std::filesystem::path& pins);
  ~Programs();
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  Origin origin() const { return origin_; }
  bool had_maps() const { return had_maps_; }
  const Maps& maps() const { return maps_; }
  // The words that the programs read; see store_word().
  ds01_state& state() const { return *state_; }
  std::uint64_t generation() const { return generation_; }

  // Attaches every program, or none; older ones stay attached beside them. Those taken over are attached.
  Status attach();
  bool attached() const { return attached_; }
  // Takes the programs off again that attach() put there.
  void withdraw();

  // Pins programs and links in the place of the older ones, which are detached. After a crash in the middle every hook
  // has a program of one kind or the other, and the next agent starts over.
  Status commit();
  // Ends the upgrade, once no program runs that commit() detached.
  void finish();

  std::uint64_t recursion_misses() const;

 private:
  Programs() = default;
  Status lock_folder(const std::filesystem::path& pins);
  bool take_over();
  Status load_object(bool pinned);
  Status map_state();
  Status announce_newcomer() const;

  Origin origin_ = Origin::loaded;
  bool had_maps_ = false;
  bool attached_ = false;
  std::uint64_t generation_ = 0;
  std::filesystem::path pins_;
  std::filesystem::path folder_;  // of this ABI's pins
  Fd lock_;
  Maps maps_;
  ds01_state* state_ = nullptr;  // mapped
  std::vector<Fd> programs_;
  std::vector<Fd> links_;
  std::vector<Fd> old_links_;
  ds01_bpf* skeleton_ = nullptr;
};

// Writes one word of the state. Programs on other CPUs see the old value or the new one.
template <class Word>
void store_word(Word& word, Word value) {
  std::atomic_ref<Word>(word).store(value);
}

}  // namespace ds01::kernel
