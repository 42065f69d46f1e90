// SPDX-License-Identifier: Apache-2.0
// What agents left pinned, looked at and changed behind their back.
#pragma once

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <string>

#include "core/fd.h"
#include "ds01/abi.h"

namespace ds01::test {

inline const std::string kPinFolder = "/sys/fs/bpf/ds01/v" + std::to_string(DS01_ABI_VERSION);

inline Fd pinned(const std::string& name) { return Fd(bpf_obj_get((kPinFolder + "/" + name).c_str())); }

// Of GPU opens by this uid, as the kernel has it.
inline ds01_count pinned_count(uid_t uid) {
  const ds01_count_key key{uid, DS01_CLASS_GPU, DS01_HOOK_OPEN};
  ds01_count count = {};
  bpf_map_lookup_elem(pinned("counts").get(), &key, &count);
  return count;
}

inline std::uint32_t pinned_program_id() {
  bpf_prog_info info = {};
  std::uint32_t size = sizeof info;
  const Fd program = pinned("prog_ds01_file_open");
  EXPECT_EQ(bpf_obj_get_info_by_fd(program.get(), &info, &size), 0);
  return info.id;
}

// Mapped until this process ends.
inline ds01_state& pinned_state() {
  const Fd map = pinned("state");
  void* memory = ::mmap(nullptr, sizeof(ds01_state), PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  EXPECT_NE(memory, MAP_FAILED);
  return *static_cast<ds01_state*>(memory);
}

// Makes the pinned programs look like those of another build, so that the next agent replaces them.
inline void pretend_other_build() { pinned_state().build ^= 1; }

}  // namespace ds01::test
