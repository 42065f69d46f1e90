// SPDX-License-Identifier: Apache-2.0
// Who has a gated device open or mapped: the kernel's records, one row per process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/result.h"
#include "holders/source.h"

namespace ds01::holders {

// One device that a process holds, and what an open() of it would get now.
struct Held {
  std::uint32_t device;  // as in ds01/abi.h
  std::string name;      // "gpu0"
  bool allowed;
  std::uint8_t reason;  // enum ds01_reason
  std::uint64_t grant;  // that was looked at; 0: none
};

struct Holder {
  pid_t pid = 0;
  uid_t uid = 0;
  std::string comm;
  std::uint64_t started = 0;  // nanoseconds on the boot clock
  std::uint64_t cgroup = 0;   // id
  std::vector<Held> devices;  // at least one; by number
  std::size_t fds = 0;
  std::size_t maps = 0;

  bool allowed() const { return decisive().allowed; }
  // The first device that is denied, or if none is the first one.
  const Held& decisive() const;
  // Their names, each once: nodes of one class share theirs.
  std::vector<std::string> names() const;
  // Of the grant that covers what is held; 0: none does.
  std::uint64_t covering_grant() const;
};

// Those that hold something they would not get now.
std::vector<Holder> only_denied(std::vector<Holder> holders);

using Wanted = std::function<bool(const ds01_holder&)>;

// By pid; `wanted` chooses the records that count. Mappings come from `proc` where the kernel does not show them.
Result<std::vector<Holder>> list(const Source& source, const std::filesystem::path& proc, const Wanted& wanted);

}  // namespace ds01::holders
