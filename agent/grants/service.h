// SPDX-License-Identifier: Apache-2.0
// The grants: checks what is asked, puts it in force in the kernel, remembers it. One thread. A call that fails has
// changed nothing; one that succeeds is in force when it returns.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "grants/grant.h"
#include "grants/kernel_map.h"
#include "identity/cgroups.h"
#include "identity/users.h"

namespace ds01::grants {

struct Permanent {};

struct GrantRequest {
  std::string subject;  // user name, "uid:N" or "cgroup:/path"
  // A duration, an end, or none; nothing given is the configured default.
  std::variant<std::monostate, std::chrono::seconds, WallTime, Permanent> end;
  std::string gpus = "all";  // "all", indices or UUIDs, separated by commas
  std::string reason;
  std::optional<config::OnExpiry> on_expiry;
  bool dry_run = false;  // check only
};

// A page of grants; `next` is the cursor for the page behind it, none on the last.
struct Page {
  std::vector<Grant> grants;
  std::optional<std::uint64_t> next;
};

class Service {
 public:
  struct Deps {
    KernelMap& kernel;
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    std::function<std::vector<devices::Gpu>()> list_gpus;
  };
  Service(Deps deps, config::Grants settings);

  void set_settings(config::Grants settings) { settings_ = std::move(settings); }

  // Grants, or changes the subject's active grant: its scope, reason and end are replaced, its id stays. A new end
  // before the old one is a conflict: a second grant never shortens the first by accident.
  Result<Grant> grant(const GrantRequest& request, const Actor& actor);

  // By id ("g-7") or subject. When it returns, no open() decides by the grant any more.
  Result<Grant> revoke(const std::string& subject_or_id);

  // Active by id or subject; by id ended ones as well.
  Result<Grant> find(const std::string& subject_or_id) const;
  const Grant* active_for_uid(uid_t uid) const;

  // In the order of numbers, behind `cursor`; with `all` also ended ones (the last 10,000 of them); of one uid if
  // given.
  Page list(bool all, std::optional<uid_t> uid, std::size_t limit, std::uint64_t cursor) const;
  std::size_t active_count() const { return active_.size(); }

  // When expire() next has something to do.
  std::optional<BootTime> next_end() const;
  // Takes at most `limit` grants whose time is over out of the kernel (which has denied them since) and returns them.
  std::vector<Grant> expire(std::size_t limit);

 private:
  struct End {
    std::optional<BootTime> boot;
    WallTime wall;
  };
  Result<Subject> resolve_subject(const std::string& text) const;
  Result<Subject> resolve_cgroup(const std::string& path) const;
  Result<Subject> resolve_user(const std::string& text) const;
  Result<std::optional<std::vector<devices::Gpu>>> resolve_gpus(const std::string& list) const;
  Result<std::chrono::seconds> maximum_for(const Subject& subject) const;
  Result<End> resolve_end(const GrantRequest& request, const Subject& subject) const;
  Status check_reason(const std::string& reason) const;
  Status check_not_shorter(const Grant& grant) const;
  Result<Grant> build(const GrantRequest& request, const Actor& actor) const;
  const Grant* find_active(const std::string& subject_or_id) const;
  const Grant* active_for(const Subject& subject) const;
  void remember(Grant grant);
  Grant end(std::uint64_t number, State state);

  Deps deps_;
  config::Grants settings_;
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, Grant> active_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> by_subject_;
  std::set<std::pair<BootTime, std::uint64_t>> by_end_;
  std::deque<Grant> ended_;
};

}  // namespace ds01::grants
