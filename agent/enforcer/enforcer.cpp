// SPDX-License-Identifier: Apache-2.0
#include "enforcer/enforcer.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/files.h"
#include "kernel/selftest.h"

namespace ds01::enforcer {
namespace {

bool same_rule(const policy::Rule& a, const policy::Rule& b) {
  return std::memcmp(&a.key, &b.key, sizeof a.key) == 0 && std::memcmp(&a.value, &b.value, sizeof a.value) == 0;
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

Status Enforcer::start_gate() {
  DS01_TRY(resolved_, resolve(config_, nullptr));
  in_force_ = compile(resolved_, mode());
  DS01_CHECK(kernel::check_lsm_list(deps_.places.lsm_list));
  DS01_TRY(gate_, kernel::Gate::load());
  DS01_CHECK(gate_->attach());
  // Proven with no other rules in force: nobody else's denials can crowd out the events that the proof waits for.
  DS01_CHECK(kernel::self_test(*gate_, deps_.places.runtime));
  return gate_->set_policy(in_force_);
}

Status Enforcer::start() {
  auto started = start_gate();
  if (started) {
    reason_.clear();
  } else {
    gate_.reset();
    reason_ = started.error().message;
  }
  return started;
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
  const auto guarded = enforce(resolved_, mode());
  if (!guarded) sockets_.pop_back();
  return guarded;
}

Status Enforcer::apply(config::Config config) {
  DS01_TRY(const auto resolved, resolve(config, nullptr));
  const policy::ModeState own{config.gpu_mode, config.gpu_mode, std::nullopt};
  // A temporary mode falls back to what the new configuration says.
  auto override = override_;
  if (override && override->until) override->after = config.gpu_mode;
  DS01_CHECK(enforce(resolved, override.value_or(own)));
  override_ = override;
  config_ = std::move(config);
  return {};
}

Status Enforcer::refresh() {
  DS01_TRY(const auto resolved, resolve(config_, &resolved_));
  return enforce(resolved, mode());
}

Status Enforcer::set_mode(config::Mode mode, std::optional<BootTime> until) {
  if (!gate_) return not_attached(reason_);
  const policy::ModeState state{mode, until ? config_.gpu_mode : mode, until};
  DS01_CHECK(enforce(resolved_, state));
  override_ = state;
  return {};
}

Status Enforcer::reset_mode() {
  if (!gate_) return not_attached(reason_);
  DS01_CHECK(enforce(resolved_, configured_mode()));
  override_.reset();
  return {};
}

Status Enforcer::put(std::span<const grants::KernelGrant> grants) {
  return gate_ ? gate_->put(grants) : not_attached(reason_);
}

Status Enforcer::erase(std::span<const ds01_subject> subjects) {
  return gate_ ? gate_->erase(subjects) : not_attached(reason_);
}

Result<std::vector<kernel::Count>> Enforcer::counts() const {
  return gate_ ? gate_->counts() : std::vector<kernel::Count>{};
}

kernel::Losses Enforcer::losses() const { return gate_ ? gate_->losses() : kernel::Losses{}; }

std::uint64_t Enforcer::recursion_misses() const { return gate_ ? gate_->recursion_misses() : 0; }

Status Enforcer::consume_events(const std::function<void(const ds01_event&)>& take) {
  return gate_ ? gate_->consume_events(take) : Status{};
}

}  // namespace ds01::enforcer
