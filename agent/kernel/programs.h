// SPDX-License-Identifier: Apache-2.0
// The programs, their links and their maps as descriptors: loaded anew, or those that an earlier agent pinned. Shared
// by the files of kernel/.
//
//   /sys/fs/bpf/ds01/v2/MAP, prog_NAME, link_NAME      v2: DS01_ABI_VERSION; another one has maps of its own
//
// A link lives as long as its pin or somebody's descriptor of it, so the gate stays when the agent goes.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "ds01/abi.h"
#include "kernel/backend.h"

struct ds01_bpf;

namespace ds01::kernel {

enum class Origin {
  loaded,      // nothing was attached before
  taken_over,  // pinned programs of this very build; they run on
  newcomer,    // others are pinned; they run on until commit()
};

// Where the programs are kept and attached.
struct Places {
  std::filesystem::path pins;         // on a BPF file system; empty: nothing is pinned
  std::filesystem::path cgroup_root;  // of the v2 hierarchy
};

struct Maps {
  Fd policy, grants, state, reported, host_cgroups, counts, losses, buckets, question, events;
};

// What a program is to the gate: its function in bpf/ds01.bpf.c, and the hook that an `lsm/` program is on.
struct Part {
  enum class Kind { hook, cgroup, iterator };
  const char* name;
  Kind kind;
  const char* target;             // of a hook "file_open", of an iterator "task_file"
  std::optional<ds01_hook> hook;  // what it reports; an iterator reports nothing
  bool optional;                  // not in every kernel
};

struct Program {
  const Part* part;
  Fd program;
  Fd link;      // once attached
  Fd old_link;  // of an older agent's, until commit()
  Fd old_program;
};

class Programs {
 public:
  // Loads the programs with maps of their own; nothing is pinned.
  static Result<std::unique_ptr<Programs>> load(Backend backend, const Places& places);
  // Takes over what is pinned, or loads the programs, on the pinned maps where there are some. Another agent that lives
  // is ErrorCode::conflict.
  static Result<std::unique_ptr<Programs>> open(Backend backend, const Places& places);
  ~Programs();
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  Origin origin() const { return origin_; }
  bool had_maps() const { return had_maps_; }
  Backend backend() const { return backend_; }
  const Maps& maps() const { return maps_; }
  // The words that the programs read; see store_word().
  ds01_state& state() const { return *state_; }
  std::uint64_t generation() const { return generation_; }
  // Those that this kernel has and this backend uses.
  const std::vector<Program>& all() const { return programs_; }
  // Whether a program is there that reports this hook.
  bool has(ds01_hook hook) const;
  // The iterator over "task", "task_file" or "task_vma"; none: this kernel lacks it.
  const Program* iterator(std::string_view target) const;
  // The folder of pins and its parent; empty if nothing is pinned.
  std::vector<std::filesystem::path> pin_folders() const;

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
  Programs(Backend backend, const Places& places);
  Status lock_folder(const std::filesystem::path& pins);
  bool take_over();
  Status load_object();
  Status choose_parts();
  Status map_state();
  Status announce_newcomer() const;
  Status attach_one(Program& program) const;
  bool upgrades() const;

  Origin origin_ = Origin::loaded;
  Backend backend_;
  Places places_;
  bool had_maps_ = false;
  bool attached_ = false;
  std::uint64_t generation_ = 0;
  std::filesystem::path folder_;  // of this ABI's pins
  Fd lock_;
  Maps maps_;
  ds01_state* state_ = nullptr;  // mapped
  std::vector<Program> programs_;
  ds01_bpf* skeleton_ = nullptr;
};

// Writes one word of the state. Programs on other CPUs see the old value or the new one.
template <class Word>
void store_word(Word& word, Word value) {
  std::atomic_ref<Word>(word).store(value);
}

}  // namespace ds01::kernel
