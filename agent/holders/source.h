// SPDX-License-Identifier: Apache-2.0
// What the kernel side tells of other processes. An interface, so that tests need no kernel side.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "core/result.h"
#include "ds01/abi.h"

namespace ds01::holders {

class Source {
 public:
  virtual ~Source() = default;
  // Every open gated device and, where sees_mappings(), every mapping of one, of all processes, with what an open() of
  // it would get now.
  virtual Result<std::vector<ds01_holder>> holders() const = 0;
  virtual bool sees_mappings() const = 0;
  // What an open() of the device by this process would get now; none: no such process. reason DS01_UNGATED: no rule is
  // about it.
  virtual Result<std::optional<ds01_holder>> ask(pid_t process, std::uint32_t device) const = 0;
};

}  // namespace ds01::holders
