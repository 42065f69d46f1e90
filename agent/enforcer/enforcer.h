// SPDX-License-Identifier: Apache-2.0
// What is enforced: turns the configuration, the mode and the machine's present state into the kernel's policy, and
// keeps it so while devices, cgroups and accounts come and go. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/deadline.h"
#include "database/database.h"
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
  std::filesystem::path pins;     // on a BPF file system
};

// A mode set by hand; it wins over the configuration's until its end or until it is reset.
struct Override {
  config::Mode mode;
  End end;

  bool operator==(const Override&) const = default;
};

class Enforcer final : public grants::KernelMap {
 public:
  struct Deps {
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    database::Database& database;  // for the override
    Places places;
    std::function<void(const ds01_event&)> on_event;
  };
  Enforcer(Deps deps, config::Config config);

  // Takes over the programs of an earlier agent, or loads them, and puts the policy in force on their maps. Whatever
  // enforced before goes on. On error reason() says why nothing more will happen. Also reads the stored override; where
  // that cannot be read, the one that an earlier agent left in the kernel counts, and without that knows_override() is
  // false.
  Status prepare();
  // Attaches what prepare() loaded, proves by denials that it runs, and lets go of older programs. On error the older
  // ones stay, and reason() says why. Grants are to be put between the two.
  Status attach();
  // Instead of attach(): what enforces goes on, and reason() says why there is nothing else.
  void hold_back(const Error& error) { give_up(error); }
  bool attached() const { return gate_ && gate_->attached(); }
  const std::string& reason() const { return reason_; }  // why not attached
  // Whether an earlier agent's programs were attached at prepare(), and whether its grants are still there.
  bool found_attached() const { return found_attached_; }
  bool found_grants() const { return found_grants_; }

  // From now on only host principals may connect to the listener bound at `socket`.
  Status guard(const std::filesystem::path& socket);

  // A new configuration; on error the old one stays in force.
  Status apply(config::Config config);
  // Looks devices, accounts and cgroups up again and, where something changed, puts the new policy in force.
  Status refresh();
  // The wall clock was set: tells the programs, and moves the end of an override that follows it. Then the store, where
  // an override of some duration has another absolute end now.
  Status clock_changed();
  const config::Config& config() const { return config_; }
  const policy::Resolved& resolved() const { return resolved_; }

  // The mode of the GPU gate: set by hand, for a while or until reset, or the configuration's. Both are on disk when
  // they return.
  Status set_mode(config::Mode mode, End end);
  Status reset_mode();
  const std::optional<Override>& override_mode() const { return override_; }
  // Whether a mode was set by hand cannot be known while the store cannot be read. The gate is closed then, unless
  // agent.yaml has it disabled.
  bool knows_override() const { return override_known_; }
  // Reads it from the store, if it is not known yet, and puts it in force.
  Status learn_override();
  config::Mode mode_now() const { return mode_of(config_, override_).at(deps_.clock.boot()); }

  Status put(std::span<const grants::KernelGrant> grants) override;
  Status erase(std::span<const ds01_subject> subjects) override;
  Status settle() override;
  Result<std::vector<grants::KernelGrant>> entries() const override;

  // Without the kernel side: no counts, no losses.
  Result<std::vector<kernel::Count>> counts() const;
  kernel::Losses losses() const;
  std::uint64_t recursion_misses() const;
  int events_fd() const { return gate_ ? gate_->events_fd() : -1; }
  // Hands the events that wait to on_event.
  Status consume_events();

 private:
  policy::ModeState mode_of(const config::Config& config, const std::optional<Override>& override) const;
  Result<policy::Resolved> resolve(const config::Config& config, const policy::Resolved* last) const;
  std::vector<policy::Rule> compile(const policy::Resolved& resolved, const policy::ModeState& mode) const;
  Status enforce(const policy::Resolved& resolved, const policy::ModeState& mode);
  Status replace_override(const std::optional<Override>& fresh);
  void find_override();
  void recall_override();
  void keep_override();
  Status open_gate();
  Status prove_and_commit();
  void give_up(const Error& error);

  Deps deps_;
  config::Config config_;
  policy::Resolved resolved_;
  std::vector<policy::Rule> in_force_;
  std::optional<Override> override_;
  bool override_known_ = true;
  bool found_attached_ = false;
  bool found_grants_ = false;
  std::vector<ds01_rule_key> sockets_;
  std::unique_ptr<kernel::Gate> gate_;
  std::string reason_ = "starting";
};

}  // namespace ds01::enforcer
