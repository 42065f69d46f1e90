// SPDX-License-Identifier: Apache-2.0
// Self-service: users ask for a grant, admins or a rule of the configuration answer, and what nobody answers lapses.
// One thread. A call that fails has changed nothing; one that succeeds is on disk when it returns.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/deadline.h"
#include "grants/grant.h"
#include "grants/request.h"
#include "grants/service.h"
#include "grants/store.h"
#include "identity/users.h"

namespace ds01::grants {

class Requests {
 public:
  struct Deps {
    Service& service;
    Store& store;
    const Clock& clock;
    const identity::Users& users;
  };
  Requests(Deps deps, config::Grants settings) : deps_(deps), settings_(std::move(settings)) {}

  void configure(config::Grants settings) { settings_ = std::move(settings); }

  // Reads the pending ones from the store. Call once, after the service's load().
  Status load();

  struct Ask {
    std::optional<std::chrono::seconds> duration;  // none: the configured default
    std::string gpus = "all";
    std::string reason;  // required
  };
  // A request of the user `who`. Checked like the grant it asks for; over the limit of pending ones it is
  // ErrorCode::limited. Where a rule of the configuration approves it, it comes back approved and the grant is in
  // force.
  Result<Request> ask(const Ask& ask, const Actor& who);
  // Grants what was asked, or for another duration. A request that is not pending is a conflict.
  struct Approved {
    Request request;
    Grant grant;
  };
  Result<Approved> approve(const std::string& id, std::optional<std::chrono::seconds> duration, const Actor& actor);
  Result<Request> deny(const std::string& id, const std::string& reason, const Actor& actor);

  Result<Request> find(const std::string& id) const;
  // In the order of numbers behind `cursor`; pending ones, with `all` also answered ones; of one uid if given.
  struct Page {
    std::vector<Request> requests;
    std::optional<std::uint64_t> next;
  };
  Result<Page> list(bool all, std::optional<uid_t> uid, std::size_t limit, std::uint64_t cursor) const;
  std::size_t pending_count(std::optional<uid_t> uid = std::nullopt) const;

  std::optional<BootTime> next_lapse() const;
  // At most `limit` pending requests whose time is over; `together` as of Service::expire().
  Result<std::vector<Request>> lapse(std::size_t limit, const Together<Request>& together = {});

 private:
  Status check_pending(uid_t uid) const;
  std::unexpected<Error> already_longer(uid_t uid) const;
  bool may_be_automatic(uid_t uid) const;
  std::optional<std::string> approving_group(const Request& request) const;
  Result<Request> approve_by_rule(Request request, const std::string& group);
  Result<const Request*> find_pending(const std::string& id) const;
  Status check_account(const Request& request) const;
  void remember(const Request& request);
  void forget(const Request& request);

  Deps deps_;
  config::Grants settings_;
  std::map<std::uint64_t, Request> pending_;
  std::map<uid_t, std::size_t> pending_of_;
  Deadlines lapses_;
};

}  // namespace ds01::grants
