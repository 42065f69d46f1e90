// SPDX-License-Identifier: Apache-2.0
// The audit trail: turns what happened into entries and hands them to the sinks. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/entry.h"
#include "audit/limiter.h"
#include "audit/sinks.h"
#include "config/config.h"
#include "ds01/abi.h"
#include "grants/grant.h"
#include "grants/request.h"
#include "holders/holders.h"
#include "identity/cgroups.h"
#include "identity/users.h"

namespace ds01::audit {

class Trail {
 public:
  struct Deps {
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    std::filesystem::path proc;
    std::function<void(const Error&)> on_loss;  // a sink lost a line
  };
  Trail(Deps deps, const config::Audit& settings);

  // New limits and sinks. A sink that cannot be opened is reported through on_loss, and tried again at reopen().
  void configure(const config::Audit& settings);
  void reopen();

  // What the kernel had counted when this agent started, read just now: no summary tells of it. Events that are older
  // than this call are written, but not set off against what is counted later. Call before the first denial.
  void begin(const std::map<uid_t, std::uint64_t>& totals);
  void denial(const ds01_event& event);
  // Processes that hold a device and would not be let in now, found when the agent starts: the first of them a line
  // each.
  void held(const std::vector<holders::Holder>& holders);
  // Summaries of the windows that are over; all of them at the end.
  void close_windows(const std::map<uid_t, std::uint64_t>& totals, bool final);

  void granted(const grants::Grant& grant);
  void extended(const grants::Grant& grant, const grants::Actor& actor);
  void revoked(const grants::Grant& grant);
  void expired(const grants::Grant& grant);
  // A process that still held a device after the grant's end was sent a signal.
  void signalled(const grants::Grant& grant, const ds01_holder& holder, int signal);
  // The kernel skipped programs of ours so many times since the last look: a hole in the gate.
  void skipped(std::uint64_t times);
  void suspended(const grants::Grant& grant, const std::string& why);
  void resumed(const grants::Grant& grant, const std::string& why);
  void requested(const grants::Request& request);
  void answered(const grants::Request& request);  // approved, denied, or lapsed
  // Somebody was told something, on a terminal of theirs ("terminal") or when they look next ("kept").
  void noticed(uid_t uid, const std::string& text, std::string_view how);
  // The kernel held something else than the store; it was put right. A sentence.
  void drifted(const std::string& what);
  void mode_changed(const std::string& text, const grants::Actor& actor);
  // As often as a hostile client likes, so limited like denials.
  void refused(uid_t uid, pid_t pid, const std::string& what);
  void started(const std::string& text);
  void stopped();
  void reloaded(const std::string& text, Level level);
  void lost(std::uint64_t events);

  std::uint64_t lines_lost() const { return lines_lost_; }

 private:
  using Fields = std::vector<std::pair<std::string, std::string>>;
  void write_held(const holders::Holder& holder);
  void summarize(const std::vector<Limiter::Summary>& summaries, std::string_view what);
  void write(Kind kind, Level level, std::string message, Fields fields);
  void write(WallTime time, Kind kind, Level level, std::string message, Fields fields);
  std::string end_of(const grants::Grant& grant, std::string_view never) const;
  Fields grant_fields(const grants::Grant& grant) const;
  Fields ended_fields(const grants::Grant& grant) const;
  static Fields request_fields(const grants::Request& request);

  Deps deps_;
  Limiter limiter_;
  BootTime began_ = BootTime::min();
  Limiter refusals_;
  std::map<uid_t, std::uint64_t> refusal_totals_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  JsonSink* json_ = nullptr;  // one of sinks_
  std::uint64_t lines_lost_ = 0;
};

// "no grant", "the grant has ended": the middle of a denial's message and the text of `whoami`.
std::string_view explain(std::uint8_t reason);

}  // namespace ds01::audit
