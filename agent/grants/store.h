// SPDX-License-Identifier: Apache-2.0
// Grants and requests on disk. One thread. Each change is durable when it returns, or when the transaction around it
// does.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/deadline.h"
#include "database/database.h"
#include "grants/grant.h"
#include "grants/request.h"

namespace ds01::grants {

class Store {
 public:
  Store(database::Database& database, const Clock& clock) : database_(database), clock_(clock) {}

  // Why the store cannot be used.
  const std::optional<Error>& fault() const { return database_.fault(); }
  Status transaction(const std::function<Status()>& work) { return database_.transaction(work); }

  // A page of what lies behind a cursor in the order of numbers.
  struct Range {
    std::optional<uid_t> uid;  // none: everybody's
    std::size_t limit = 0;
    std::uint64_t cursor = 0;
  };

  // ---- grants. A cgroup's id is not stored: it is another one after a reboot.

  // Gives the grant the next number, which no other ever had.
  Status add(Grant& grant);
  Result<std::uint64_t> next_grant_number() const;
  Status save(const Grant& grant);
  Status remove_grant(std::uint64_t number);
  struct Living {
    std::vector<Grant> grants;  // in the order of numbers
    bool stale = false;         // absolute ends are wrong by more than a second: call clock_changed()
  };
  Result<Living> living() const;
  Result<Grant> grant(std::uint64_t number) const;
  Result<std::vector<Grant>> list(const Range& range) const;
  // Ended ones, the latest first; `range.cursor` is a number of rows to leave out.
  Result<std::vector<Grant>> history(const Range& range, std::optional<WallTime> since) const;

  // ---- requests

  Status add(Request& request);
  Status save(const Request& request);
  Status remove_request(std::uint64_t number);
  Result<std::vector<Request>> pending_requests() const;
  Result<Request> request(std::uint64_t number) const;
  Result<std::vector<Request>> list_requests(const Range& range) const;

  // Computes the absolute ends of grants that end on this boot's clock anew, where they are wrong by more than a
  // second.
  Status clock_changed();
  // Forgets what ended more than 400 days ago.
  Status forget_old();

 private:
  Result<std::vector<Grant>> grants(const std::string& rest, std::initializer_list<database::Value> values) const;
  Result<std::vector<Request>> requests(const std::string& rest, std::initializer_list<database::Value> values) const;

  database::Database& database_;
  const Clock& clock_;
};

}  // namespace ds01::grants
