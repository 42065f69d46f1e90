// SPDX-License-Identifier: Apache-2.0
// What is enforced: turns the configuration, the mode and the machine's present state into the kernel's policy, and
// keeps it so while devices, cgroups and accounts come and go. One thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/clock.h"
#include "devices/devices.h"
#include "identity/cgroups.h"
#include "identity/users.h"
#include "kernel/gate.h"
#include "policy/policy.h"

namespace ds01::enforcer {

struct Places {
  std::filesystem::path proc;
  std::filesystem::path lsm_list;
  std::filesystem::path runtime;  // where a socket may be bound for the self-test
};

class Enforcer final : public grants::KernelMap {
 public:
  struct Deps {
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    Places places;
  };
  Enforcer(Deps deps, config::Config config);

  // Loads the programs, puts the policy in force, attaches, and proves by a denial that they run. On error nothing is
  // attached and reason() says why.
  Status start();
  bool attached() const { return gate_ && gate_->attached(); }
  const std::string& reason() const { return reason_; }  // why not attached

  // From now on only host principals may connect to the listener bound at `socket`.
  Status guard(const std::filesystem::path& socket);

  // A new configuration; on error the old one stays in force.
  Status apply(config::Config config);
  // Looks devices, accounts and cgroups up again and, where something changed, puts the new policy in force.
  Status refresh();
  const config::Config& config() const { return config_; }
  const policy::Resolved& resolved() const { return resolved_; }

  // The mode of the GPU gate: set by hand, for a while or until reset, or the configuration's.
  Status set_mode(config::Mode mode, std::optional<BootTime> until);
  Status reset_mode();
  policy::ModeState mode() const { return override_.value_or(configured_mode()); }
  config::Mode mode_now() const { return mode().at(deps_.clock.boot()); }

  Status put(std::span<const grants::KernelGrant> grants) override;
  Status erase(std::span<const ds01_subject> subjects) override;

  // Without the kernel side: no counts, no losses.
  Result<std::vector<kernel::Count>> counts() const;
  kernel::Losses losses() const;
  std::uint64_t recursion_misses() const;
  int events_fd() const { return gate_ ? gate_->events_fd() : -1; }
  Status consume_events(const std::function<void(const ds01_event&)>& take);

 private:
  policy::ModeState configured_mode() const { return {config_.gpu_mode, config_.gpu_mode, std::nullopt}; }
  Result<policy::Resolved> resolve(const config::Config& config, const policy::Resolved* last) const;
  std::vector<policy::Rule> compile(const policy::Resolved& resolved, const policy::ModeState& mode) const;
  Status enforce(const policy::Resolved& resolved, const policy::ModeState& mode);
  Status start_gate();

  Deps deps_;
  config::Config config_;
  policy::Resolved resolved_;
  std::vector<policy::Rule> in_force_;
  std::optional<policy::ModeState> override_;
  std::vector<ds01_rule_key> sockets_;
  std::unique_ptr<kernel::Gate> gate_;
  std::string reason_ = "starting";
};

}  // namespace ds01::enforcer
