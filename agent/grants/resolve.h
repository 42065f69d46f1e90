// SPDX-License-Identifier: Apache-2.0
// What is asked for, checked: subjects, GPUs, ends and reasons as people type them. Changes nothing.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/deadline.h"
#include "devices/caps.h"
#include "grants/grant.h"
#include "identity/cgroups.h"
#include "identity/users.h"

namespace ds01::grants {

struct Permanent {};
// A duration, an end, or none; nothing given is the configured default.
using AskedEnd = std::variant<std::monostate, std::chrono::seconds, WallTime, Permanent>;

// Nanoseconds do not hold every number of seconds. Durations in agent.yaml end at 100 years.
constexpr std::chrono::seconds kBeyondAnyMaximum = std::chrono::years(101);

// Text that stays in the log and on people's terminals: at most 500 bytes, printable.
Status check_reason(const std::string& reason);

class Resolver {
 public:
  struct Deps {
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    std::function<std::vector<devices::Gpu>()> list_gpus;
    std::function<devices::CapNames()> list_caps;
  };
  Resolver(Deps deps, config::Grants settings) : deps_(std::move(deps)), settings_(std::move(settings)) {}

  void configure(config::Grants settings) { settings_ = std::move(settings); }
  const config::Grants& settings() const { return settings_; }

  // A user name, "uid:N" or "cgroup:/path" of a cgroup that exists. The name is the account's as the name service gives
  // it for the uid; without an account it is empty.
  Result<Subject> subject(const std::string& text) const;
  // "all" (none), indices or UUIDs.
  Result<std::optional<std::vector<devices::Gpu>>> gpus(const std::string& list) const;
  // "none", or names: "nvidia-cap30", "imex-channel0", or as the driver lists them ("mig/gpu0/gi1/access"). Each once,
  // as devices::cap_name() gives it.
  Result<std::vector<std::string>> caps(const std::string& list) const;

  struct Span {
    End end;
    std::chrono::seconds term;  // 0: permanent
  };
  Result<Span> end(const AskedEnd& asked, const Subject& subject) const;
  // Whether a grant may last this long from now on: in the future, and within the subject's maximum.
  Status check_length(std::chrono::nanoseconds length, const Subject& subject) const;

 private:
  struct Maximum {
    std::chrono::seconds length;
    std::string key;  // in agent.yaml
  };
  Result<Subject> cgroup(const std::string& path) const;
  Result<Subject> user(const std::string& text) const;
  Result<Maximum> maximum_for(const Subject& subject) const;

  Deps deps_;
  config::Grants settings_;
};

}  // namespace ds01::grants
