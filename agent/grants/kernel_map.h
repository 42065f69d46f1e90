// SPDX-License-Identifier: Apache-2.0
// Where grants take effect: the part of the kernel side that the grant service writes.
#pragma once

#include <span>
#include <vector>

#include "core/result.h"
#include "ds01/abi.h"

namespace ds01::grants {

struct KernelGrant {
  ds01_subject subject;
  ds01_grant value;
  unsigned depth;  // of a cgroup subject below the root; unused for a user
};

class KernelMap {
 public:
  virtual ~KernelMap() = default;
  // Adds or replaces, one subject after the other; each is seen whole or not at all. On error those before it stand.
  virtual Status put(std::span<const KernelGrant> grants) = 0;
  // A subject that is not there is no error. Programs that run at this moment may still decide by what was there.
  virtual Status erase(std::span<const ds01_subject> subjects) = 0;
  // Returns when no program decides any more by anything that was replaced or erased before.
  virtual Status settle() = 0;
  // What is in force now. `depth` is not known and 0.
  virtual Result<std::vector<KernelGrant>> entries() const = 0;
};

}  // namespace ds01::grants
