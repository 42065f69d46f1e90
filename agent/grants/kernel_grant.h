// SPDX-License-Identifier: Apache-2.0
// A grant as the kernel side has it. Pure.
#pragma once

#include <cstdint>
#include <utility>

#include "grants/grant.h"
#include "grants/kernel_map.h"

namespace ds01::grants {

// Kind and id: what the kernel's map is keyed by.
using SubjectKey = std::pair<std::uint32_t, std::uint64_t>;

ds01_subject kernel_subject(const Subject& subject);
KernelGrant kernel_grant(const Grant& grant);
SubjectKey subject_key(const ds01_subject& subject);
// Whether both give the same; `depth` is not compared, as the kernel does not tell it.
bool same_value(const KernelGrant& a, const KernelGrant& b);

// Whether the grant belongs into the kernel now: not suspended, and its cgroup exists.
bool belongs_in_kernel(const Grant& grant);

}  // namespace ds01::grants
