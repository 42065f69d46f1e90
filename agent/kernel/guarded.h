// SPDX-License-Identifier: Apache-2.0
// The gate's own parts as rules of the policy, so that root in a container can neither take it off nor change it.
#pragma once

#include <vector>

#include "core/fd.h"
#include "kernel/programs.h"
#include "policy/rule.h"

namespace ds01::kernel {

// Its maps, programs, links and pins, and the agent.
std::vector<policy::Rule> guards_of(const Programs& programs, const ds01_holder& agent);
policy::Rule guard_of_map(const Fd& map);

}  // namespace ds01::kernel
