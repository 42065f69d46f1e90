// SPDX-License-Identifier: Apache-2.0
// The grants: checks what is asked, stores it, puts it in force in the kernel. One thread. A call that fails has
// changed nothing; one that succeeds is on disk and in force when it returns.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/deadline.h"
#include "grants/grant.h"
#include "grants/kernel_grant.h"
#include "grants/kernel_map.h"
#include "grants/living.h"
#include "grants/resolve.h"
#include "grants/store.h"
#include "identity/cgroups.h"
#include "identity/users.h"

namespace ds01::grants {

struct GrantRequest {
  std::string subject;  // user name, "uid:N" or "cgroup:/path"
  AskedEnd end;
  std::string gpus = "all";   // "all", indices or UUIDs, separated by commas
  std::string caps = "none";  // "none", or names of capability nodes, separated by commas
  std::string reason;
  std::optional<config::OnExpiry> on_expiry;
  bool dry_run = false;  // check only
};

// What the caller stores together with a grant, in one transaction: both or none.
struct Along {
  std::function<Status(const Grant&)> store;
  // Takes it out of the store again, in one transaction as well: the grant could not be put in force.
  std::function<Status()> undo;
};

// What happens in the transaction in which a batch of records is stored: who is told of it is told, or nothing
// happened.
template <class Record>
using Together = std::function<void(const std::vector<Record>&)>;

// A page of grants; `next` is the cursor for the page behind it, none on the last.
struct Page {
  std::vector<Grant> grants;
  std::optional<std::uint64_t> next;
};

// What sync() found in the kernel that the store has otherwise, and put right.
struct Drift {
  std::size_t missing = 0;            // stored, not in force
  std::size_t different = 0;          // in force with another end or scope
  std::size_t unknown = 0;            // in force, not stored
  std::vector<std::string> examples;  // a sentence each, for the first ten

  bool any() const { return missing + different + unknown != 0; }
};

// A grant that was suspended or resumed.
struct AccountChange {
  Grant grant;
  std::string why;      // "uid 1000 is eve now"
  bool absent = false;  // nobody has the uid, or nobody that the name service knows now
};

class Service {
 public:
  struct Deps {
    KernelMap& kernel;
    Store& store;
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    std::function<std::vector<devices::Gpu>()> list_gpus;
    std::function<devices::CapNames()> list_caps;
  };
  using Leads = grants::Leads;
  Service(Deps deps, config::Grants settings, Leads leads);

  void configure(config::Grants settings, Leads leads);

  // Reads the living grants from the store. Uids that belong to somebody else by now suspend their grants, before
  // anything is put in force; an account that is not there does not yet, as at this time of the boot the name service
  // may not be. Call once, before sync(). On error there are no grants, and none in the kernel may be touched.
  Result<std::vector<AccountChange>> load();
  // Makes the kernel hold what the store has, no more and no less, and says what was otherwise.
  Result<Drift> sync();

  // Grants, or changes the subject's living grant: its scope, reason and end are replaced, its id stays. A new end
  // before the old one is a conflict: a second grant never shortens the first by accident. Where the uid belongs to
  // another account by now, the old one's grant is revoked instead ("account changed") and the new one has an id of its
  // own.
  Result<Grant> grant(const GrantRequest& request, const Actor& actor, const Along& along = {});
  // Moves the end. What is then left must not be above the maximum; a permanent or suspended grant is a conflict.
  Result<Grant> extend(const std::string& subject_or_id, std::chrono::seconds by);
  // By id ("g-7") or subject. When it returns, no open() decides by the grant any more.
  Result<Grant> revoke(const std::string& subject_or_id, const Actor& actor, const std::string& reason);

  // Living by id or subject; by id ended ones as well.
  Result<Grant> find(const std::string& subject_or_id) const;
  const Grant* living_for_uid(uid_t uid) const;

  // In the order of numbers, behind `cursor`; with `all` also ended ones; of one uid if given.
  Result<Page> list(bool all, std::optional<uid_t> uid, std::size_t limit, std::uint64_t cursor) const;
  // Ended ones, the one that ended last first; ended at or after `since`; behind `cursor` (a number of rows).
  Result<Page> history(std::optional<uid_t> uid, std::optional<WallTime> since, std::size_t limit,
                       std::uint64_t cursor) const;
  std::size_t active_count() const { return living_.size() - living_.suspended(); }
  std::size_t suspended_count() const { return living_.suspended(); }
  std::set<std::string> cgroup_paths() const;  // of living grants, to be watched

  // When expire() or warn() next has something to do.
  std::optional<BootTime> next_due() const;
  // Takes at most `limit` grants whose time is over out of the store and the kernel (which has denied them since). One
  // that was suspended ends with a reason.
  Result<std::vector<Grant>> expire(std::size_t limit, const Together<Grant>& together = {});
  // At most `limit` grants of which a warning is due; it counts as given when this returns. Several that were missed
  // are one.
  Result<std::vector<Grant>> warn(std::size_t limit, const Together<Grant>& together = {});
  // Takes what is left of grants that ended softly out of the kernel, once their grace is over.
  Status release();

  // The wall clock was set: the absolute ends of durations are others now.
  Status clock_changed();
  // Looks up whether the accounts of living grants are still the same, and suspends or resumes. A failing name service
  // changes nothing; an account has to be absent at two looks. At most `limit` grants behind `*cursor`, which moves on
  // and is 0 after the last.
  Result<std::vector<AccountChange>> check_accounts(std::uint64_t* cursor, std::size_t limit);
  // Whether a second look is due.
  bool misses_accounts() const { return !absent_.empty(); }
  // Follows cgroups of grants that came, went or came back.
  Status refresh_cgroups();

 private:
  // A grant to be written, and the subject's living one that it takes the place of.
  struct Change {
    Grant grant;
    std::optional<Grant> before;
    bool other_account = false;  // `before` is somebody else's
  };
  Status usable() const;
  Result<Change> plan(const GrantRequest& request, const Actor& actor) const;
  Status check_not_shorter(const Change& change) const;
  Result<Grant> apply(Change change, const Actor& actor, const Along& along);
  Status store_change(Change& change, const Actor& actor, const Along& along);
  Status undo_change(const Change& change, const Along& along);
  Status put_in_kernel(const Change& change);
  void remember(const Change& change);
  Status end_in_kernel(const Grant& grant);
  const Grant* find_living(const std::string& subject_or_id) const;
  Result<Grant> find_to_change(const std::string& subject_or_id) const;

  // A grant with a soft end, over, as it stays in the kernel.
  struct Lingering {
    KernelGrant entry;
    BootTime until;
  };
  KernelGrant entry_of(const Grant& grant) const;
  std::optional<Lingering> lingering(const Grant& before, BootTime end) const;
  Status linger(const std::vector<Lingering>& grants);
  bool keeps_lingering(const KernelGrant& entry);

  void locate(Subject& subject) const;
  Result<std::optional<AccountChange>> account_change(const Grant& grant) const;
  Status save_all(const std::vector<Grant>& grants, const Together<Grant>& together = {});
  std::optional<AccountChange> confirmed(std::optional<AccountChange> change, std::uint64_t number);
  Status put_accounts_in_kernel(const std::vector<Grant>& grants);
  Status apply_accounts(const std::vector<AccountChange>& changes);
  // What the kernel has, sorted; by the numbers of grants.
  struct Found {
    std::unordered_set<std::uint64_t> right;
    std::unordered_set<std::uint64_t> different;
    std::vector<ds01_subject> surplus;
  };
  Found compare(const std::vector<KernelGrant>& entries, Drift& drift);
  const Grant* grant_of(const KernelGrant& entry) const;
  bool is_leftover(const KernelGrant& entry) const;

  Deps deps_;
  Resolver resolver_;
  Living living_;
  std::unordered_set<std::uint64_t> resumed_;  // by load(): not in the kernel yet
  std::unordered_set<std::uint64_t> absent_;   // grants whose account was not there at the last look
  std::map<SubjectKey, BootTime> lingering_;   // until when
  std::optional<Error> unusable_;              // why there is nothing to work on: load() has not succeeded
};

}  // namespace ds01::grants
