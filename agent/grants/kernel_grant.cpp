// SPDX-License-Identifier: Apache-2.0
#include "grants/kernel_grant.h"

#include <algorithm>

namespace ds01::grants {
namespace {

void set_end(ds01_grant& value, const End& end) {
  value.ends = DS01_NEVER;
  value.clock = DS01_BOOT_CLOCK;
  if (const auto* boot = std::get_if<BootTime>(&end))
    value.ends = static_cast<std::uint64_t>(boot->time_since_epoch().count());
  if (const auto* wall = std::get_if<WallTime>(&end)) {
    value.ends = static_cast<std::uint64_t>(wall->time_since_epoch().count());
    value.clock = DS01_WALL_CLOCK;
  }
}

}  // namespace

ds01_subject kernel_subject(const Subject& subject) {
  if (subject.kind == Subject::Kind::user) return {subject.uid, DS01_SUBJECT_UID, 0};
  return {subject.cgroup_id, DS01_SUBJECT_CGROUP, 0};
}

SubjectKey subject_key(const ds01_subject& subject) { return {subject.kind, subject.id}; }

KernelGrant kernel_grant(const Grant& grant) {
  KernelGrant out{kernel_subject(grant.subject), {}, grant.subject.cgroup_depth};
  set_end(out.value, grant.end);
  out.value.number = grant.number;
  if (!grant.gpus) std::ranges::fill(out.value.gpus, ~__u64{0});
  for (const auto& gpu : grant.gpus.value_or(std::vector<devices::Gpu>{}))
    out.value.gpus[gpu.index / 64] |= __u64{1} << (gpu.index % 64);
  return out;
}

bool same_value(const KernelGrant& a, const KernelGrant& b) {
  return a.value.ends == b.value.ends && a.value.clock == b.value.clock && a.value.number == b.value.number &&
         std::ranges::equal(a.value.gpus, b.value.gpus);
}

bool belongs_in_kernel(const Grant& grant) {
  const auto& subject = grant.subject;
  return grant.state == State::active && (subject.kind == Subject::Kind::user || subject.cgroup_id != 0);
}

}  // namespace ds01::grants
