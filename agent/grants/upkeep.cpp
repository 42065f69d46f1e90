// SPDX-License-Identifier: Apache-2.0
// How grants follow what changes around them: restarts, clocks, accounts, cgroups.
#include <fmt/format.h>

#include "grants/kernel_grant.h"
#include "grants/service.h"

namespace ds01::grants {
namespace {

constexpr std::size_t kExamples = 10;

template <class... Parts>
void add_example(Drift& drift, fmt::format_string<Parts...> text, Parts&&... parts) {
  if (drift.examples.size() < kExamples) drift.examples.push_back(fmt::format(text, std::forward<Parts>(parts)...));
}

std::string describe(const ds01_subject& subject) {
  return fmt::format("{} {}", subject.kind == DS01_SUBJECT_UID ? "uid" : "cgroup", subject.id);
}

}  // namespace

Status Service::save_all(const std::vector<Grant>& grants, const Together<Grant>& together) {
  if (grants.empty()) return {};
  return deps_.store.transaction([&]() -> Status {
    for (const auto& grant : grants) DS01_CHECK(deps_.store.save(grant));
    if (together) together(grants);
    return {};
  });
}

// ---- start

Result<std::vector<AccountChange>> Service::load() {
  if (deps_.store.fault()) return std::unexpected(*deps_.store.fault());
  DS01_TRY(auto stored, deps_.store.living());
  if (stored.stale) DS01_CHECK(deps_.store.clock_changed());  // the clock was set while nobody looked
  auto& grants = stored.grants;
  std::vector<AccountChange> changes;
  std::vector<Grant> changed;
  for (auto& grant : grants) {
    auto change = account_change(grant);
    if (!change) break;
    if (!*change || (*change)->absent) continue;
    grant.state = (*change)->grant.state;
    if (grant.state == State::active) resumed_.insert(grant.number);
    changed.push_back(grant);
    changes.push_back(*std::move(*change));
  }
  DS01_CHECK(save_all(changed));
  for (auto& grant : grants) {
    locate(grant.subject);
    living_.put(std::move(grant));
  }
  unusable_.reset();
  return changes;
}

// The living grant that an entry in the kernel is about, or null.
const Grant* Service::grant_of(const KernelGrant& entry) const {
  const auto& subject = entry.subject;
  const Grant* grant = subject.kind == DS01_SUBJECT_UID ? living_.of_uid(static_cast<uid_t>(subject.id))
                                                        : living_.find(entry.value.number);
  const bool same = grant != nullptr && subject_key(kernel_subject(grant->subject)) == subject_key(subject);
  return same ? grant : nullptr;
}

// The entry of a grant that was suspended, or of a cgroup that went: what is to be expected.
bool Service::is_leftover(const KernelGrant& entry) const {
  const auto* grant = living_.find(entry.value.number);
  if (grant == nullptr) return false;
  return entry.subject.kind == DS01_SUBJECT_CGROUP
             ? grant->subject.kind == Subject::Kind::cgroup
             : subject_key(kernel_subject(grant->subject)) == subject_key(entry.subject);
}

// What an agent before left of a grant that had ended softly, by the store as by the kernel.
bool Service::keeps_lingering(const KernelGrant& entry) {
  if (entry.value.soft_grace == 0 || entry.value.clock != DS01_BOOT_CLOCK) return false;
  const auto ended = deps_.store.grant(entry.value.number);
  if (!ended || ended->is_living() || ended->on_expiry != config::OnExpiry::soft) return false;
  const auto until = BootTime(std::chrono::nanoseconds(entry.value.ends + entry.value.soft_grace));
  if (until <= deps_.clock.boot()) return false;
  lingering_[subject_key(entry.subject)] = until;
  return true;
}

// Sorts what the kernel has: the numbers of those that are right or not to be touched, and what is to go.
Service::Found Service::compare(const std::vector<KernelGrant>& entries, Drift& drift) {
  Found found;
  for (const auto& entry : entries) {
    const auto* grant = grant_of(entry);
    if (grant == nullptr && keeps_lingering(entry)) continue;
    if (grant == nullptr || !belongs_in_kernel(*grant)) {
      found.surplus.push_back(entry.subject);
      if (is_leftover(entry)) continue;
      ++drift.unknown;
      add_example(drift, "g-{} for {} was in force, but not in the store", entry.value.number, describe(entry.subject));
    } else if (has_ended(grant->end, deps_.clock) || same_value(entry, entry_of(*grant))) {
      found.right.insert(grant->number);
    } else {
      found.different.insert(grant->number);
      add_example(drift, "{} for {} was in force with another end or scope", grant->id(), grant->subject.display());
    }
  }
  drift.different = found.different.size();
  return found;
}

Result<Drift> Service::sync() {
  DS01_CHECK(usable());
  DS01_TRY(const auto entries, deps_.kernel.entries());
  Drift drift;
  const auto found = compare(entries, drift);
  std::vector<KernelGrant> to_put;
  for (const auto& [number, grant] : living_.all()) {
    if (!belongs_in_kernel(grant) || found.right.contains(number) || has_ended(grant.end, deps_.clock)) continue;
    to_put.push_back(entry_of(grant));
    if (found.different.contains(number) || resumed_.contains(number)) continue;
    ++drift.missing;
    add_example(drift, "{} for {} was not in force", grant.id(), grant.subject.display());
  }
  DS01_CHECK(deps_.kernel.erase(found.surplus));
  DS01_CHECK(deps_.kernel.put(to_put));
  DS01_CHECK(deps_.kernel.settle());
  return drift;
}

// ---- clocks

Status Service::clock_changed() {
  DS01_CHECK(usable());
  return deps_.store.clock_changed();
}

// ---- accounts

// What has become of the grant's account, as a change of its state; none: it is as it was. An error: nothing is known.
Result<std::optional<AccountChange>> Service::account_change(const Grant& grant) const {
  const auto& subject = grant.subject;
  if (subject.kind != Subject::Kind::user || subject.name.empty()) return std::nullopt;
  const auto name = deps_.users.name_of(subject.uid);
  if (!name && name.error().code != ErrorCode::not_found) return std::unexpected(name.error());
  const bool same = name && *name == subject.name;
  if (same == (grant.state == State::active)) return std::nullopt;
  AccountChange change{grant,
                       name ? fmt::format("uid {} is {} {}", subject.uid, *name, same ? "again" : "now")
                            : fmt::format("uid {} has no account any more", subject.uid),
                       !name};
  change.grant.state = same ? State::active : State::suspended;
  return change;
}

// Into the kernel with what is active, out of it with what is suspended.
Status Service::put_accounts_in_kernel(const std::vector<Grant>& grants) {
  std::vector<KernelGrant> resumed;
  std::vector<ds01_subject> suspended;
  for (const auto& grant : grants) {
    if (belongs_in_kernel(grant))
      resumed.push_back(entry_of(grant));
    else
      suspended.push_back(kernel_subject(grant.subject));
  }
  DS01_CHECK(deps_.kernel.erase(suspended));
  DS01_CHECK(deps_.kernel.put(resumed));
  return suspended.empty() ? Status() : deps_.kernel.settle();
}

Status Service::apply_accounts(const std::vector<AccountChange>& changes) {
  std::vector<Grant> before;
  std::vector<Grant> after;
  for (const auto& [grant, why, absent] : changes) {
    before.push_back(*living_.find(grant.number));
    after.push_back(grant);
  }
  DS01_CHECK(save_all(after));
  if (auto status = put_accounts_in_kernel(after); !status) {
    // Found again at the next look, whatever of this fails as well.
    (void)put_accounts_in_kernel(before);
    (void)save_all(before);
    return status;
  }
  for (auto& grant : after) living_.put(std::move(grant));
  return {};
}

// An account is gone once it was absent at two looks: a directory service that comes up late knows nobody for a while.
std::optional<AccountChange> Service::confirmed(std::optional<AccountChange> change, std::uint64_t number) {
  const bool seen_before = absent_.erase(number) != 0;
  if (!change || !change->absent || seen_before) return change;
  absent_.insert(number);
  return std::nullopt;
}

Result<std::vector<AccountChange>> Service::check_accounts(std::uint64_t* cursor, std::size_t limit) {
  DS01_CHECK(usable());
  std::vector<AccountChange> changes;
  std::uint64_t last = 0;
  auto next = living_.all().upper_bound(*cursor);
  const auto end = living_.all().end();
  for (std::size_t looked = 0; next != end && looked < limit; ++looked) {
    auto change = account_change(next->second);
    if (!change) {
      next = end;  // a name service that fails is left alone for this time
      break;
    }
    if (auto sure = confirmed(*std::move(change), next->first)) changes.push_back(*std::move(sure));
    last = next->first;
    ++next;
  }
  if (!changes.empty()) DS01_CHECK(apply_accounts(changes));
  *cursor = next == end ? 0 : last;
  return changes;
}

// ---- cgroups

void Service::locate(Subject& subject) const {
  if (subject.kind != Subject::Kind::cgroup) return;
  const auto cgroup = deps_.cgroups.find(subject.path);
  if (!cgroup && cgroup.error().code != ErrorCode::not_found) return;  // not known: as it was
  subject.cgroup_id = cgroup ? cgroup->id : 0;
  subject.cgroup_depth = cgroup ? cgroup->depth : 0;
}

Status Service::refresh_cgroups() {
  DS01_CHECK(usable());
  std::vector<Grant> moved;
  std::vector<ds01_subject> gone;
  std::vector<KernelGrant> come;
  for (const auto& [path, number] : living_.by_path()) {
    const auto* before = living_.find(number);
    auto grant = *before;
    locate(grant.subject);
    if (grant.subject.cgroup_id == before->subject.cgroup_id) continue;
    if (belongs_in_kernel(*before)) gone.push_back(kernel_subject(before->subject));
    if (belongs_in_kernel(grant)) come.push_back(entry_of(grant));
    moved.push_back(std::move(grant));
  }
  DS01_CHECK(deps_.kernel.erase(gone));
  DS01_CHECK(deps_.kernel.put(come));
  for (auto& grant : moved) living_.put(std::move(grant));
  return {};
}

}  // namespace ds01::grants
