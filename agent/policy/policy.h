// SPDX-License-Identifier: Apache-2.0
// From configuration to the rules that the kernel side looks up. compile() is pure: names are resolved before.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/clock.h"
#include "core/result.h"
#include "devices/devices.h"
#include "ds01/abi.h"
#include "identity/cgroups.h"
#include "identity/users.h"
#include "policy/rule.h"

namespace ds01::policy {

// A gate's mode, and what it turns into by itself (`mode disabled --for 1h`).
struct ModeState {
  config::Mode mode;
  config::Mode after;
  std::optional<BootTime> until;

  config::Mode at(BootTime now) const { return until && now >= *until ? after : mode; }
};

// Everything named in the configuration, as ids.
struct Resolved {
  std::vector<devices::DeviceRange> devices;
  std::vector<devices::Driver> drivers;
  bool open_telemetry = false;  // everybody may query GPUs
  std::set<uid_t> denied_uids;
  std::set<uid_t> exempt_uids;
  std::vector<identity::Cgroup> allowed_cgroups;
  std::vector<identity::Cgroup> exempt_cgroups;
  std::vector<std::pair<identity::Cgroup, uid_t>> exempt_pairs;
  std::vector<std::pair<identity::Cgroup, uid_t>> exact_pairs;  // in the cgroup itself, not below it
  std::vector<std::string> warnings;                            // names that do not resolve now, one sentence each
};

// Looks every name up. A name that does not resolve is a warning: its rule matches nobody. But while a name under
// `deny:` does not resolve, all uids denied in `last` (the policy of the same configuration before) stay denied: a name
// service that fails must not let anybody in. A device rule that cannot be is an error. Cgroups that do not exist yet
// are neither: they are looked up again when they appear.
Result<Resolved> resolve(const config::Config& config, const devices::Machine& machine, const identity::Users& users,
                         const identity::Cgroups& cgroups, const Resolved* last = nullptr);

// All cgroup paths that rules are about, to be watched.
std::set<std::string> named_cgroups(const config::Config& config);

// The mode as enum ds01_mode.
std::uint8_t kernel_mode(config::Mode mode);

// The kernel's rules for the GPU gate. `sockets` are listeners that only host principals may connect to.
std::vector<Rule> compile(const Resolved& resolved, const ModeState& mode, const std::vector<ds01_rule_key>& sockets);

}  // namespace ds01::policy
