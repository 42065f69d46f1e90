// SPDX-License-Identifier: Apache-2.0
#include "enforcer/enforcer.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/files.h"
#include "enforcer/mode_store.h"
#include "kernel/selftest.h"

namespace ds01::enforcer {
namespace {

bool same_rule(const policy::Rule& a, const policy::Rule& b) {
  return std::memcmp(&a.key, &b.key, sizeof a.key) == 0 && std::memcmp(&a.value, &b.value, sizeof a.value) == 0;
}

config::Mode mode_of_kernel(std::uint8_t mode) {
  if (mode == DS01_MODE_DISABLED) return config::Mode::disabled;
  return mode == DS01_MODE_MONITORING ? config::Mode::monitoring : config::Mode::full;
}

std::unexpected<Error> not_attached(const std::string& reason) {
  return fail(ErrorCode::unavailable, fmt::format("the kernel side is not attached: {}", reason));
}

}  // namespace

Enforcer::Enforcer(Deps deps, config::Config config) : deps_(std::move(deps)), config_(std::move(config)) {}

Result<policy::Resolved> Enforcer::resolve(const config::Config& config, const policy::Resolved* last) const {
  DS01_TRY(const auto text, read_file(deps_.places.proc / "devices", 1 << 20));
  return policy::resolve(config, devices::parse_majors(text), deps_.users, deps_.cgroups, last);
}

std::vector<policy::Rule> Enforcer::compile(const policy::Resolved& resolved, const policy::ModeState& mode) const {
  return policy::compile(resolved, mode, sockets_);
}

// After its end an override gives way to what the configuration says.
policy::ModeState Enforcer::mode_of(const config::Config& config, const std::optional<Override>& override) const {
  if (override) {
    const auto until = on_boot(override->end, deps_.clock);
    return {override->mode, until ? config.gpu_mode : override->mode, until};
  }
  const bool as_configured = override_known_ || config.gpu_mode == config::Mode::disabled;
  const auto mode = as_configured ? config.gpu_mode : config::Mode::full;
  return {mode, mode, std::nullopt};
}

// A store that cannot be read must not loosen the gate. Where the programs of an earlier agent run, that agent has left
// beside them what it knew. A file that is not there hides nothing.
void Enforcer::find_override() {
  if (const auto stored = load_override(deps_.database, deps_.clock)) {
    override_ = *stored;
  } else if (gate_->had_maps()) {
    recall_override();
  } else {
    override_known_ = !deps_.database.found();
  }
}

void Enforcer::recall_override() {
  const auto kept = gate_->kept_mode();
  if (!kept) return;
  override_known_ = kept->mode != kernel::Gate::kUnknownMode;
  if (!override_known_) return;
  const Override override{mode_of_kernel(kept->mode), kept->until == DS01_NEVER
                                                          ? End(Never{})
                                                          : End(BootTime(std::chrono::nanoseconds(kept->until)))};
  if (!has_ended(override.end, deps_.clock)) override_ = override;
}

void Enforcer::keep_override() {
  if (!override_known_) return gate_->keep_mode(kernel::Gate::KeptMode{kernel::Gate::kUnknownMode, DS01_NEVER});
  if (!override_) return gate_->keep_mode(std::nullopt);
  const auto until = on_boot(override_->end, deps_.clock);
  gate_->keep_mode(
      kernel::Gate::KeptMode{policy::kernel_mode(override_->mode),
                             until ? static_cast<std::uint64_t>(until->time_since_epoch().count()) : DS01_NEVER});
}

Status Enforcer::learn_override() {
  if (!gate_ || override_known_) return {};
  DS01_TRY(const auto stored, load_override(deps_.database, deps_.clock));
  override_known_ = true;
  if (auto enforced = enforce(resolved_, mode_of(config_, stored)); !enforced) {
    override_known_ = false;
    return enforced;
  }
  override_ = stored;
  keep_override();
  return {};
}

Status Enforcer::open_gate() {
  DS01_TRY(resolved_, resolve(config_, nullptr));
  DS01_CHECK(kernel::check_lsm_list(deps_.places.lsm_list));
  DS01_TRY(gate_, kernel::Gate::open(deps_.places.pins));
  found_attached_ = gate_->was_attached();
  found_grants_ = found_attached_ && gate_->had_maps();
  find_override();
  keep_override();
  in_force_ = compile(resolved_, mode_of(config_, override_));
  DS01_CHECK(gate_->set_policy(in_force_));
  gate_->set_clocks(deps_.clock.wall_minus_boot());
  return {};
}

Status Enforcer::prepare() {
  auto opened = open_gate();
  if (!opened) give_up(opened.error());
  return opened;
}

Status Enforcer::prove_and_commit() {
  DS01_CHECK(gate_->attach());
  DS01_CHECK(kernel::self_test(*gate_, in_force_, deps_.places.runtime, deps_.on_event));
  return gate_->commit();
}

Status Enforcer::attach() {
  if (!gate_) return not_attached(reason_);
  auto proven = prove_and_commit();
  if (proven) {
    reason_.clear();
  } else {
    gate_->withdraw();
    give_up(proven.error());
  }
  return proven;
}

void Enforcer::give_up(const Error& error) {
  gate_.reset();
  reason_ = error.message;
}

// Writes the kernel's policy if it differs from the one in force.
Status Enforcer::enforce(const policy::Resolved& resolved, const policy::ModeState& mode) {
  auto rules = compile(resolved, mode);
  if (gate_ && !std::ranges::equal(rules, in_force_, same_rule)) DS01_CHECK(gate_->set_policy(rules));
  in_force_ = std::move(rules);
  resolved_ = resolved;
  return {};
}

Status Enforcer::guard(const std::filesystem::path& socket) {
  if (!gate_) return not_attached(reason_);
  DS01_TRY(const auto key, kernel::socket_key(socket));
  sockets_.push_back(key);
  const auto guarded = enforce(resolved_, mode_of(config_, override_));
  if (!guarded) sockets_.pop_back();
  return guarded;
}

Status Enforcer::apply(config::Config config) {
  DS01_TRY(const auto resolved, resolve(config, nullptr));
  DS01_CHECK(enforce(resolved, mode_of(config, override_)));
  config_ = std::move(config);
  return {};
}

Status Enforcer::refresh() {
  DS01_TRY(const auto resolved, resolve(config_, &resolved_));
  return enforce(resolved, mode_of(config_, override_));
}

Status Enforcer::clock_changed() {
  if (!gate_) return {};
  gate_->set_clocks(deps_.clock.wall_minus_boot());
  keep_override();
  DS01_CHECK(enforce(resolved_, mode_of(config_, override_)));
  return override_ ? store_override(deps_.database, override_, deps_.clock) : Status();
}

// On disk first: what is in force is never less than what a restart would find.
Status Enforcer::replace_override(const std::optional<Override>& fresh) {
  if (!gate_) return not_attached(reason_);
  DS01_CHECK(learn_override());
  DS01_CHECK(store_override(deps_.database, fresh, deps_.clock));
  if (auto enforced = enforce(resolved_, mode_of(config_, fresh)); !enforced) {
    (void)store_override(deps_.database, override_, deps_.clock);
    return enforced;
  }
  override_ = fresh;
  keep_override();
  return {};
}

Status Enforcer::set_mode(config::Mode mode, End end) { return replace_override(Override{mode, end}); }

Status Enforcer::reset_mode() { return replace_override(std::nullopt); }

Status Enforcer::put(std::span<const grants::KernelGrant> grants) {
  return gate_ ? gate_->put(grants) : not_attached(reason_);
}

Status Enforcer::erase(std::span<const ds01_subject> subjects) {
  return gate_ ? gate_->erase(subjects) : not_attached(reason_);
}

Status Enforcer::settle() { return gate_ ? gate_->settle() : not_attached(reason_); }

Result<std::vector<grants::KernelGrant>> Enforcer::entries() const {
  if (!gate_) return not_attached(reason_);
  return gate_->entries();
}

Result<std::vector<kernel::Count>> Enforcer::counts() const {
  return gate_ ? gate_->counts() : std::vector<kernel::Count>{};
}

kernel::Losses Enforcer::losses() const { return gate_ ? gate_->losses() : kernel::Losses{}; }

std::uint64_t Enforcer::recursion_misses() const { return gate_ ? gate_->recursion_misses() : 0; }

Status Enforcer::consume_events() { return gate_ ? gate_->consume_events(deps_.on_event) : Status{}; }

}  // namespace ds01::enforcer
