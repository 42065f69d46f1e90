// SPDX-License-Identifier: Apache-2.0
#include "audit/trail.h"

#include <unistd.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "devices/devices.h"
#include "identity/process.h"

namespace ds01::audit {
namespace {

constexpr std::array<std::string_view, DS01_HOOK_COUNT> kVerbs{"open", "connect to"};
constexpr std::array<std::string_view, DS01_HOOK_COUNT> kHooks{"open", "connect"};

std::string optional_uid(std::optional<uid_t> uid) { return uid ? std::to_string(*uid) : ""; }

// The executable of the process that the event is about, if it still runs: same pid, same start. start_time in
// /proc/PID/stat counts clock ticks, the event nanoseconds, both since boot.
std::string executable(const std::filesystem::path& proc, const ds01_event& event) {
  const auto process = identity::read_process(proc, static_cast<pid_t>(event.tgid));
  const auto ticks = event.task_start / (1'000'000'000ULL / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  return process && process->start_ticks == ticks ? process->executable : "";
}

std::string comm_of(const ds01_event& event) {
  return std::string(event.comm, ::strnlen(event.comm, sizeof event.comm));
}

}  // namespace

std::string_view explain(std::uint8_t reason) {
  switch (reason) {
    case DS01_BY_DENY_RULE: return "denied by configuration";
    case DS01_NO_GRANT: return "no grant";
    case DS01_GRANT_ENDED: return "the grant has ended";
    case DS01_GRANT_NOT_COVERING: return "the grant does not cover this device";
    case DS01_IN_CONTAINER: return "not on the host: rights of users do not count in containers";
    default: return "allowed";
  }
}

Trail::Trail(Deps deps, const config::Audit& settings)
    : deps_(std::move(deps)), limiter_(settings.limit, settings.window), refusals_(settings.limit, settings.window) {
  configure(settings);
}

void Trail::configure(const config::Audit& settings) {
  limiter_.configure(settings.limit, settings.window);
  refusals_.configure(settings.limit, settings.window);
  sinks_.clear();
  json_ = nullptr;
  if (settings.journald) sinks_.push_back(std::make_unique<JournalSink>());
  if (settings.json.empty()) return;
  auto json = std::make_unique<JsonSink>(settings.json);
  json_ = json.get();
  sinks_.push_back(std::move(json));
  reopen();
}

void Trail::reopen() {
  if (json_ == nullptr) return;
  if (const auto opened = json_->reopen(); !opened) deps_.on_loss(opened.error());
}

void Trail::write(Kind kind, Level level, std::string message, Fields fields) {
  for (auto& [key, value] : fields) value = printable(value);
  const Entry entry{kind, level, deps_.clock.wall(), printable(message), std::move(fields)};
  for (const auto& sink : sinks_) {
    const auto written = sink->write(entry);
    if (written) continue;
    // The first loss is reported, the rest is counted: a full disk must not fill the log as well.
    if (lines_lost_++ == 0) deps_.on_loss(written.error());
  }
}

void Trail::denial(const ds01_event& event) {
  const auto tier = limiter_.admit(event.uid, deps_.clock.boot());
  if (tier == Tier::suppressed) return;
  const auto user = identity::display_name(deps_.users, event.uid);
  const auto device = devices::device_name(event.device_class, event.index);
  const bool denied = event.verdict == DS01_DENIED;
  const auto hook = std::min<std::size_t>(event.hook, kHooks.size() - 1);
  const auto comm = comm_of(event);
  auto message = fmt::format("{} {} to {} {} ({}, pid {}): {}", user, denied ? "was denied" : "would be denied",
                             kVerbs[hook], device, comm, event.tgid, explain(event.reason));
  write(Kind::denial, tier == Tier::warning ? Level::warning : Level::notice, std::move(message),
        {{"verdict", denied ? "denied" : "would-deny"},
         {"user", user},
         {"uid", std::to_string(event.uid)},
         {"login_uid", event.login_uid == ~0U ? "" : std::to_string(event.login_uid)},
         {"pid", std::to_string(event.tgid)},
         {"tid", std::to_string(event.tid)},
         {"comm", comm},
         {"exe", executable(deps_.proc, event)},
         {"cgroup", deps_.cgroups.path_of(event.cgroup)},
         {"hook", std::string(kHooks[hook])},
         {"class", devices::class_name(event.device_class)},
         {"device", device},
         {"dev", fmt::format("{}:{}", event.device >> 20, event.device & 0xfffff)},
         {"reason", std::string(explain(event.reason))},
         {"grant", event.grant != 0 ? fmt::format("g-{}", event.grant) : ""}});
}

void Trail::close_windows(const std::map<uid_t, std::uint64_t>& totals, bool final) {
  summarize(limiter_.close(deps_.clock.boot(), totals, final), "denied");
  summarize(refusals_.close(deps_.clock.boot(), refusal_totals_, final), "refused by the control API");
}

void Trail::summarize(const std::vector<Limiter::Summary>& summaries, std::string_view what) {
  for (const auto& summary : summaries) {
    const auto user = identity::display_name(deps_.users, summary.uid);
    write(Kind::summary, Level::notice,
          fmt::format("{} was {} {} more times than the log shows", user, what, summary.suppressed),
          {{"user", user},
           {"uid", std::to_string(summary.uid)},
           {"verdict", "denied"},
           {"suppressed", std::to_string(summary.suppressed)}});
  }
}

Trail::Fields Trail::grant_fields(const grants::Grant& grant) const {
  return {{"grant", grant.id()},
          {"user", grant.subject.display()},
          {"uid", grant.subject.kind == grants::Subject::Kind::user ? std::to_string(grant.subject.uid) : ""},
          {"gpus", grant.scope()},
          {"ends", grant.ends ? format_utc(grant.ends_wall) : "never"},
          {"granted_by", grant.granted_by.name},
          {"granted_by_login_uid", optional_uid(grant.granted_by.login_uid)},
          {"reason", grant.reason}};
}

void Trail::granted(const grants::Grant& grant) {
  write(
      Kind::grant, Level::notice,
      fmt::format("{} granted {} {} until {}{}{}", grant.granted_by.name, grant.subject.display(), grant.scope(),
                  grant.ends ? format_utc(grant.ends_wall) : "revoked", grant.reason.empty() ? "" : ": ", grant.reason),
      grant_fields(grant));
}

void Trail::revoked(const grants::Grant& grant, const grants::Actor& actor, const std::string& reason) {
  auto fields = grant_fields(grant);
  fields.emplace_back("revoked_by", actor.name);
  fields.emplace_back("revoked_by_login_uid", optional_uid(actor.login_uid));
  fields.emplace_back("revoke_reason", reason);
  write(Kind::revoke, Level::notice,
        fmt::format("{} revoked {} of {}{}{}", actor.name, grant.id(), grant.subject.display(),
                    reason.empty() ? "" : ": ", reason),
        std::move(fields));
}

void Trail::expired(const grants::Grant& grant) {
  write(Kind::expiry, Level::notice, fmt::format("{} of {} has ended", grant.id(), grant.subject.display()),
        grant_fields(grant));
}

void Trail::mode_changed(const std::string& text, const grants::Actor& actor) {
  write(Kind::mode, Level::warning, fmt::format("{} {}", actor.name, text),
        {{"user", actor.name}, {"uid", std::to_string(actor.uid)}, {"login_uid", optional_uid(actor.login_uid)}});
}

void Trail::refused(uid_t uid, pid_t pid, const std::string& what) {
  ++refusal_totals_[uid];
  if (refusals_.admit(uid, deps_.clock.boot()) == Tier::suppressed) return;
  const auto user = identity::display_name(deps_.users, uid);
  write(Kind::refused, Level::warning, fmt::format("{} (pid {}) was refused: {}", user, pid, what),
        {{"user", user}, {"uid", std::to_string(uid)}, {"pid", std::to_string(pid)}});
}

void Trail::started(const std::string& text) { write(Kind::start, Level::notice, text, {{"version", DS01_VERSION}}); }

void Trail::stopped() {
  write(Kind::stop, Level::warning, "ds01d stops; GPU devices are not gated until it runs again",
        {{"version", DS01_VERSION}});
}

void Trail::reloaded(const std::string& text, Level level) { write(Kind::reload, level, text, {}); }

void Trail::lost(std::uint64_t events) {
  write(Kind::lost, Level::error,
        fmt::format("{} denials could not be logged: the kernel's event ring was full; their counts are exact", events),
        {{"events", std::to_string(events)}});
}

}  // namespace ds01::audit
