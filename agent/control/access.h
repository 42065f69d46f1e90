// SPDX-License-Identifier: Apache-2.0
// Why a caller may open GPUs now or not, for `whoami`: the kernel's order (bpf/decide.h) with what user space knows.
#pragma once

#include <optional>
#include <string>

#include "authz/authz.h"
#include "config/config.h"
#include "core/clock.h"
#include "grants/service.h"
#include "policy/policy.h"

namespace ds01::control {

// The device that is asked about, as the gate takes it.
struct Asked {
  config::DeviceClass device_class;
  std::optional<std::uint32_t> index;  // of its GPU
  std::string cap;                     // "nvidia-cap30": what a grant calls it
};

struct Situation {
  const authz::Caller& caller;
  const Clock& clock;
  const config::Config& config;
  const policy::Resolved& resolved;
  bool attached;
  config::Mode mode;
  const grants::Grant* own;             // the living grant of the caller's uid, or null
  std::optional<grants::Grant> cgroup;  // that of the cgroup the caller is in
  std::optional<Asked> device = {};     // none: GPUs in general
};

struct Access {
  bool allowed;
  std::string why;
  int order = 0;     // the line of the kernel's order that decides, 1 to 6; 0: none was asked
  std::string rule;  // what the line found: "deny.users", "allow.cgroups", "g-7", "no grant"
};
Access access_in(const Situation& situation);

// The living grant of `cgroup` or of the nearest one above it that has one.
std::optional<grants::Grant> grant_of_cgroup(const grants::Service& service, std::string cgroup);

}  // namespace ds01::control
