// SPDX-License-Identifier: Apache-2.0
#include "grants/kernel_grant.h"

#include <algorithm>

#include "devices/caps.h"

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

// A name that this build cannot read is a grant of less than was meant, never of more.
void set_caps(ds01_grant& value, const std::vector<std::string>& names) {
  std::size_t next = 0;
  for (const auto& name : names)
    if (const auto cap = devices::parse_cap(name); cap && next < DS01_GRANT_CAPS) value.caps[next++] = *cap;
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
  set_caps(out.value, grant.caps);
  return out;
}

bool same_value(const KernelGrant& a, const KernelGrant& b) {
  return a.value.ends == b.value.ends && a.value.clock == b.value.clock && a.value.number == b.value.number &&
         a.value.soft_grace == b.value.soft_grace && std::ranges::equal(a.value.gpus, b.value.gpus) &&
         std::ranges::equal(a.value.caps, b.value.caps);
}

bool belongs_in_kernel(const Grant& grant) {
  const auto& subject = grant.subject;
  return grant.state == State::active && (subject.kind == Subject::Kind::user || subject.cgroup_id != 0);
}

}  // namespace ds01::grants
