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

struct Situation {
  const authz::Caller& caller;
  const Clock& clock;
  const config::Config& config;
  const policy::Resolved& resolved;
  bool attached;
  config::Mode mode;
  const grants::Grant* own;             // the living grant of the caller's uid, or null
  std::optional<grants::Grant> cgroup;  // that of the cgroup the caller is in
};

struct Access {
  bool allowed;
  std::string why;
};
Access access_in(const Situation& situation);

// The living grant of `cgroup` or of the nearest one above it that has one.
std::optional<grants::Grant> grant_of_cgroup(const grants::Service& service, std::string cgroup);

}  // namespace ds01::control
