// SPDX-License-Identifier: Apache-2.0
#include "audit/trail.h"

#include <unistd.h>

#include <signal.h>
#include <algorithm>

#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text.h"
#include "devices/devices.h"
#include "identity/process.h"

namespace ds01::audit {
namespace {

constexpr std::size_t kHeldLines = 20;

// What somebody was denied, in front of the device's name; by enum ds01_hook.
constexpr std::array<std::string_view, DS01_HOOK_COUNT> kVerbs{"open",
                                                               "connect to",
                                                               "use",
                                                               "map",
                                                               "receive a descriptor of",
                                                               "unmount",
                                                               "remove pins of",
                                                               "open a map of",
                                                               "look at a program of",
                                                               "detach",
                                                               "signal the agent of",
                                                               "trace the agent of"};

const grants::Actor kAgent{0, "ds01d", std::nullopt};

std::string optional_uid(std::optional<uid_t> uid) { return uid ? std::to_string(*uid) : ""; }

// The executable of the process that the event is about, if it still runs: same pid, same start. start_time in
// /proc/PID/stat counts clock ticks, the event nanoseconds, both since boot.
std::string executable(const std::filesystem::path& proc, const ds01_event& event) {
  const auto process = identity::read_process(proc, static_cast<pid_t>(event.tgid));
  const auto ticks = event.task_start / (1'000'000'000ULL / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  return process && process->start_ticks == ticks ? process->executable : "";
}

// ": thesis", or nothing.
std::string because(const std::string& reason) { return reason.empty() ? "" : ": " + reason; }

std::string scope_of(const grants::Request& request) {
  return request.gpus == "all" ? "all GPUs" : "GPU " + request.gpus;
}

std::string answer_text(const grants::Request& request) {
  const auto asked = fmt::format("{} of {}", request.id(), request.who.name);
  switch (request.state) {
    case grants::RequestState::approved:
      return request.decided_by ? fmt::format("{} approved {}", request.decided_by->name, asked)
                                : fmt::format("{} was approved by a rule of the configuration", asked);
    case grants::RequestState::denied:
      return fmt::format("{} denied {}{}", request.decided_by.value_or(kAgent).name, asked, because(request.answer));
    case grants::RequestState::lapsed: return fmt::format("{} has lapsed: nobody answered it in time", asked);
    case grants::RequestState::pending: return fmt::format("{} waits for an answer", asked);
  }
  std::unreachable();
}

std::string comm_of(const ds01_event& event) {
  return std::string(event.comm, ::strnlen(event.comm, sizeof event.comm));
}

}  // namespace

std::string_view explain(std::uint8_t reason) {
  switch (reason) {
    case DS01_BY_DENY_RULE: return "denied by configuration";
    case DS01_BY_HOST_ROOT: return "root on the host";
    case DS01_BY_EXEMPT_USER: return "exempt user or group";
    case DS01_BY_EXEMPT_CGROUP: return "exempt cgroup";
    case DS01_BY_ALLOWED_CGROUP: return "in an allowed cgroup";
    case DS01_BY_USER_GRANT: return "the user's grant";
    case DS01_BY_CGROUP_GRANT: return "the cgroup's grant";
    case DS01_BY_TELEMETRY: return "open to everybody (telemetry)";
    case DS01_NO_GRANT: return "no grant";
    case DS01_GRANT_ENDED: return "the grant has ended";
    case DS01_GRANT_NOT_COVERING: return "the grant does not cover this device";
    case DS01_IN_CONTAINER: return "not on the host: rights of users do not count in containers";
    case DS01_GUARDED: return "only root on the host may touch the gate";
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

void Trail::begin(const std::map<uid_t, std::uint64_t>& totals) {
  limiter_.begin(totals);
  began_ = deps_.clock.boot();
}

void Trail::write(Kind kind, Level level, std::string message, Fields fields) {
  write(deps_.clock.wall(), kind, level, std::move(message), std::move(fields));
}

void Trail::write(WallTime time, Kind kind, Level level, std::string message, Fields fields) {
  for (auto& [key, value] : fields) value = printable(value);
  const Entry entry{kind, level, time, printable(message), std::move(fields)};
  for (const auto& sink : sinks_) {
    const auto written = sink->write(entry);
    if (written) continue;
    // The first loss is reported, the rest is counted: a full disk must not fill the log as well.
    if (lines_lost_++ == 0) deps_.on_loss(written.error());
  }
}

void Trail::denial(const ds01_event& event) {
  const BootTime happened{std::chrono::nanoseconds(event.time)};
  const auto tier = limiter_.admit(event.uid, deps_.clock.boot(), happened >= began_);
  if (tier == Tier::suppressed) return;
  const auto user = identity::display_name(deps_.users, event.uid);
  const auto device = devices::device_name(event.device_class, event.index);
  const bool denied = event.verdict == DS01_DENIED;
  const auto hook = std::min<std::size_t>(event.hook, kVerbs.size() - 1);
  const auto comm = comm_of(event);
  auto message = fmt::format("{} {} to {} {} ({}, pid {}): {}", user, denied ? "was denied" : "would be denied",
                             kVerbs[hook], device, comm, event.tgid, explain(event.reason));
  // Events wait in the ring while no agent runs: the line says when it was, not when it was written.
  write(deps_.clock.to_wall(happened), Kind::denial, tier == Tier::warning ? Level::warning : Level::notice,
        std::move(message),
        {{"verdict", denied ? "denied" : "would-deny"},
         {"user", user},
         {"uid", std::to_string(event.uid)},
         {"login_uid", event.login_uid == ~0U ? "" : std::to_string(event.login_uid)},
         {"pid", std::to_string(event.tgid)},
         {"tid", std::to_string(event.tid)},
         {"comm", comm},
         {"exe", executable(deps_.proc, event)},
         {"cgroup", deps_.cgroups.path_of(event.cgroup)},
         {"hook", devices::hook_name(event.hook)},
         {"class", devices::class_name(event.device_class)},
         {"device", device},
         {"dev", fmt::format("{}:{}", event.device >> 20, event.device & 0xfffff)},
         {"reason", std::string(explain(event.reason))},
         {"grant", event.grant != 0 ? fmt::format("g-{}", event.grant) : ""}});
}

void Trail::write_held(const holders::Holder& holder) {
  const auto user = identity::display_name(deps_.users, holder.uid);
  const auto& decisive = holder.decisive();
  const auto reason = std::string(explain(decisive.reason));
  const auto names = fmt::format("{}", fmt::join(holder.names(), ", "));
  write(Kind::held, Level::warning,
        fmt::format("{} has {} open or mapped, and would not be let in now ({}, pid {}): {}", user, names, holder.comm,
                    holder.pid, reason),
        {{"user", user},
         {"uid", std::to_string(holder.uid)},
         {"pid", std::to_string(holder.pid)},
         {"comm", holder.comm},
         {"cgroup", deps_.cgroups.path_of(holder.cgroup)},
         {"device", names},
         {"fds", std::to_string(holder.fds)},
         {"maps", std::to_string(holder.maps)},
         {"reason", reason},
         {"grant", decisive.grant != 0 ? fmt::format("g-{}", decisive.grant) : ""}});
}

void Trail::held(const std::vector<holders::Holder>& holders) {
  const auto lines = std::min(holders.size(), kHeldLines);
  for (std::size_t i = 0; i < lines; ++i) write_held(holders[i]);
  const auto more = holders.size() - lines;
  if (more == 0) return;
  write(Kind::held, Level::warning,
        fmt::format("{} more processes hold a device and would not be let in now: ds01ctl holders", more),
        {{"processes", std::to_string(more)}});
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

std::string Trail::end_of(const grants::Grant& grant, std::string_view never) const {
  const auto end = on_wall(grant.end, deps_.clock);
  return end ? format_utc(*end) : std::string(never);
}

Trail::Fields Trail::grant_fields(const grants::Grant& grant) const {
  return {{"grant", grant.id()},
          {"user", grant.subject.display()},
          {"uid", grant.subject.kind == grants::Subject::Kind::user ? std::to_string(grant.subject.uid) : ""},
          {"gpus", grant.scope()},
          {"ends", end_of(grant, "never")},
          {"granted_by", grant.granted_by.name},
          {"granted_by_login_uid", optional_uid(grant.granted_by.login_uid)},
          {"reason", grant.reason}};
}

void Trail::granted(const grants::Grant& grant) {
  write(Kind::grant, Level::notice,
        fmt::format("{} granted {} {} until {}{}", grant.granted_by.name, grant.subject.display(), grant.scope(),
                    end_of(grant, "revoked"), because(grant.reason)),
        grant_fields(grant));
}

void Trail::extended(const grants::Grant& grant, const grants::Actor& actor) {
  auto fields = grant_fields(grant);
  fields.emplace_back("extended_by", actor.name);
  fields.emplace_back("extended_by_login_uid", optional_uid(actor.login_uid));
  write(Kind::extend, Level::notice,
        fmt::format("{} extended {} of {} until {}", actor.name, grant.id(), grant.subject.display(),
                    end_of(grant, "revoked")),
        std::move(fields));
}

Trail::Fields Trail::ended_fields(const grants::Grant& grant) const {
  auto fields = grant_fields(grant);
  fields.emplace_back("ended", grant.ended ? format_utc(*grant.ended) : "");
  return fields;
}

void Trail::revoked(const grants::Grant& grant) {
  const auto actor = grant.ended_by.value_or(kAgent);
  auto fields = ended_fields(grant);
  fields.emplace_back("revoked_by", actor.name);
  fields.emplace_back("revoked_by_login_uid", optional_uid(actor.login_uid));
  fields.emplace_back("revoke_reason", grant.end_reason);
  write(
      Kind::revoke, Level::notice,
      fmt::format("{} revoked {} of {}{}", actor.name, grant.id(), grant.subject.display(), because(grant.end_reason)),
      std::move(fields));
}

void Trail::expired(const grants::Grant& grant) {
  write(Kind::expiry, Level::notice, fmt::format("{} of {} has ended", grant.id(), grant.subject.display()),
        ended_fields(grant));
}

void Trail::signalled(const grants::Grant& grant, const ds01_holder& holder, int signal) {
  const std::string comm(static_cast<const char*>(holder.comm), ::strnlen(holder.comm, sizeof holder.comm));
  const auto* name = signal == SIGKILL ? "KILL" : "TERM";
  auto fields = ended_fields(grant);
  fields.emplace_back("pid", std::to_string(holder.tgid));
  fields.emplace_back("comm", comm);
  fields.emplace_back("signal", name);
  write(Kind::signal, Level::notice,
        fmt::format("{} of {} has ended: {} ({}, pid {}) still held {} and was sent {}", grant.id(),
                    grant.subject.display(), grant.subject.display(), comm, holder.tgid,
                    devices::device_name(holder.device_class, holder.index), name),
        std::move(fields));
}

void Trail::skipped(std::uint64_t times) {
  write(Kind::recursion, Level::critical,
        fmt::format("the kernel skipped programs of the gate {} times, so as many accesses may have gone through: boot "
                    "with bpf in the LSM list (see ds01ctl status), or without preempt=full",
                    times),
        {{"times", std::to_string(times)}});
}

void Trail::suspended(const grants::Grant& grant, const std::string& why) {
  auto fields = grant_fields(grant);
  fields.emplace_back("why", why);
  write(Kind::suspend, Level::warning,
        fmt::format("{} of {} is suspended: {}", grant.id(), grant.subject.display(), why), std::move(fields));
}

void Trail::resumed(const grants::Grant& grant, const std::string& why) {
  auto fields = grant_fields(grant);
  fields.emplace_back("why", why);
  write(Kind::resume, Level::notice,
        fmt::format("{} of {} is in force again: {}", grant.id(), grant.subject.display(), why), std::move(fields));
}

Trail::Fields Trail::request_fields(const grants::Request& request) {
  return {{"request", request.id()},
          {"user", request.who.name},
          {"uid", std::to_string(request.who.uid)},
          {"login_uid", optional_uid(request.who.login_uid)},
          {"gpus", scope_of(request)},
          {"duration_s", std::to_string(request.duration.count())},
          {"reason", request.reason}};
}

void Trail::requested(const grants::Request& request) {
  write(Kind::request, Level::notice,
        fmt::format("{} requested {} for {} ({}){}", request.who.name, scope_of(request),
                    format_duration(request.duration), request.id(), because(request.reason)),
        request_fields(request));
}

void Trail::answered(const grants::Request& request) {
  const auto by = request.decided_by.value_or(grants::Actor{});
  auto fields = request_fields(request);
  fields.emplace_back("state", std::string(to_string(request.state)));
  fields.emplace_back("answered_by", by.name);
  fields.emplace_back("answered_by_login_uid", optional_uid(by.login_uid));
  fields.emplace_back("answer", request.answer);
  fields.emplace_back("grant", request.grant ? fmt::format("g-{}", *request.grant) : "");
  write(Kind::answer, Level::notice, answer_text(request), std::move(fields));
}

void Trail::noticed(uid_t uid, const std::string& text, std::string_view how) {
  const auto user = identity::display_name(deps_.users, uid);
  auto line = text;
  std::ranges::replace(line, '\n', ' ');
  write(Kind::notice, Level::notice,
        how == "terminal" ? fmt::format("{} was told on a terminal: {}", user, line)
                          : fmt::format("a notice waits for {}: {}", user, line),
        {{"user", user}, {"uid", std::to_string(uid)}, {"how", std::string(how)}, {"text", line}});
}

void Trail::drifted(const std::string& what) { write(Kind::drift, Level::warning, what, {}); }

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
  write(Kind::stop, Level::notice, "ds01d stops; what is in force stays in force", {{"version", DS01_VERSION}});
}

void Trail::reloaded(const std::string& text, Level level) { write(Kind::reload, level, text, {}); }

void Trail::lost(std::uint64_t events) {
  write(Kind::lost, Level::error,
        fmt::format("{} denials could not be logged: the kernel's event ring was full; their counts are exact", events),
        {{"events", std::to_string(events)}});
}

}  // namespace ds01::audit
