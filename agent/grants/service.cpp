// SPDX-License-Identifier: Apache-2.0
// The life of a grant: made, changed, found, ended. What follows the machine around it is in upkeep.cpp.
#include "grants/service.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/files.h"
#include "core/text.h"
#include "grants/kernel_grant.h"

namespace ds01::grants {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

bool is_grant_id(const std::string& text) { return text.starts_with("g-"); }

Grant over(Grant grant, State state, WallTime when, std::optional<Actor> by, std::string reason) {
  grant.state = state;
  grant.ended = when;
  grant.ended_by = std::move(by);
  grant.end_reason = std::move(reason);
  return grant;
}

std::string until(const End& end, const Clock& clock) {
  const auto time = on_wall(end, clock);
  return time ? format_utc(*time) : "revoked (permanent)";
}

// The kernel's failure, after which the store could not be put back either.
std::unexpected<Error> both_failed(const Error& kernel, const Error& store) {
  return fail(kernel.code, fmt::format("{}; it stays in the store and takes effect when ds01d restarts: {}",
                                       kernel.message, store.message));
}

}  // namespace

Service::Service(Deps deps, config::Grants settings, Leads leads)
    : deps_(std::move(deps)),
      resolver_({deps_.clock, deps_.users, deps_.cgroups, deps_.list_gpus, deps_.list_caps}, std::move(settings)),
      living_(std::move(leads)),
      unusable_(Error{ErrorCode::system, "the grants have not been read from the store yet: try again"}) {}

void Service::configure(config::Grants settings, Leads leads) {
  resolver_.configure(std::move(settings));
  living_.set_leads(std::move(leads));
}

Status Service::usable() const {
  if (deps_.store.fault()) return std::unexpected(*deps_.store.fault());
  if (unusable_) return std::unexpected(*unusable_);
  return {};
}

// ---- grant and extend

Status Service::check_not_shorter(const Change& change) const {
  if (!change.before || change.other_account || !ends_before(change.grant.end, change.before->end, deps_.clock))
    return {};
  return fail(ErrorCode::conflict,
              fmt::format("{} already has {} until {}, which is longer; to shorten it, revoke it first",
                          change.grant.subject.display(), change.before->id(), until(change.before->end, deps_.clock)));
}

Result<Service::Change> Service::plan(const GrantRequest& request, const Actor& actor) const {
  Change change;
  auto& grant = change.grant;
  DS01_TRY(grant.subject, resolver_.subject(request.subject));
  DS01_TRY(grant.gpus, resolver_.gpus(request.gpus));
  DS01_TRY(grant.caps, resolver_.caps(request.caps));
  DS01_TRY(const auto span, resolver_.end(request.end, grant.subject));
  if (resolver_.settings().require_reason && request.reason.empty())
    return fail(ErrorCode::invalid, "a reason is required here: add --reason TEXT");
  DS01_CHECK(check_reason(request.reason));
  grant.end = span.end;
  grant.term = span.term;
  grant.created = deps_.clock.wall();
  grant.on_expiry = request.on_expiry.value_or(resolver_.settings().on_expiry);
  grant.granted_by = actor;
  grant.reason = request.reason;
  if (const auto* before = living_.of(grant.subject)) {
    change.before = *before;
    change.other_account = before->subject.name != grant.subject.name && !before->subject.name.empty();
  }
  DS01_CHECK(check_not_shorter(change));
  if (change.before && !change.other_account) {
    grant.number = change.before->number;
    grant.created = change.before->created;
  }
  return change;
}

Result<Grant> Service::grant(const GrantRequest& request, const Actor& actor, const Along& along) {
  DS01_CHECK(usable());
  DS01_TRY(auto change, plan(request, actor));
  if (!request.dry_run) return apply(std::move(change), actor, along);
  if (change.grant.number == 0) {
    DS01_TRY(change.grant.number, deps_.store.next_grant_number());
  }
  return std::move(change.grant);
}

// On disk first: what is in force must still be known after a power cut.
Result<Grant> Service::apply(Change change, const Actor& actor, const Along& along) {
  DS01_CHECK(store_change(change, actor, along));
  if (auto put = put_in_kernel(change); !put) {
    const auto undone = undo_change(change, along);
    if (undone) return std::unexpected(std::move(put).error());
    remember(change);
    return both_failed(put.error(), undone.error());
  }
  remember(change);
  return std::move(change.grant);
}

Status Service::store_change(Change& change, const Actor& actor, const Along& along) {
  const auto number = change.grant.number;
  return deps_.store.transaction([&]() -> Status {
    if (change.other_account)
      DS01_CHECK(deps_.store.save(over(*change.before, State::revoked, deps_.clock.wall(), actor, "account changed")));
    DS01_CHECK(number == 0 ? deps_.store.add(change.grant) : deps_.store.save(change.grant));
    return along.store ? along.store(change.grant) : Status();
  });
}

Status Service::undo_change(const Change& change, const Along& along) {
  return deps_.store.transaction([&]() -> Status {
    if (!change.before || change.other_account) DS01_CHECK(deps_.store.remove_grant(change.grant.number));
    if (change.before) DS01_CHECK(deps_.store.save(*change.before));
    return along.undo ? along.undo() : Status();
  });
}

Status Service::put_in_kernel(const Change& change) {
  const auto entry = entry_of(change.grant);
  // A cgroup that was made anew under the same path. The old one is gone, so nobody misses its entry.
  if (change.before && belongs_in_kernel(*change.before)) {
    const auto old = kernel_subject(change.before->subject);
    if (subject_key(old) != subject_key(entry.subject)) DS01_CHECK(deps_.kernel.erase(std::span(&old, 1)));
  }
  if (!belongs_in_kernel(change.grant)) return {};
  lingering_.erase(subject_key(entry.subject));
  return deps_.kernel.put(std::span(&entry, 1));
}

void Service::remember(const Change& change) {
  if (change.other_account) living_.remove(change.before->number);
  living_.put(change.grant);
}

Result<Grant> Service::extend(const std::string& subject_or_id, seconds by) {
  DS01_CHECK(usable());
  DS01_TRY(auto before, find_to_change(subject_or_id));
  const auto account = account_change(before);  // it may have changed since the last look
  const auto state = account && *account ? (*account)->grant.state : before.state;
  if (state == State::suspended || before.state == State::suspended)
    return fail(ErrorCode::conflict, fmt::format("{} is suspended, as uid {} is not {} any more: make a new grant",
                                                 before.id(), before.subject.uid, before.subject.name));
  const auto left = time_left(before.end, deps_.clock);
  if (!left) return fail(ErrorCode::conflict, fmt::format("{} is permanent: it has no end to move", before.id()));
  if (*left == nanoseconds(0))
    return fail(ErrorCode::conflict, fmt::format("{} has ended: make a new grant", before.id()));
  if (by <= seconds(0)) return fail(ErrorCode::invalid, "give a duration above zero to extend by");
  const auto more = std::min(by, kBeyondAnyMaximum);
  DS01_CHECK(resolver_.check_length(*left + more, before.subject));
  Change change{before, before, false};
  change.grant.end = shifted(before.end, more);
  change.grant.term = std::chrono::ceil<seconds>(*left + more);
  change.grant.warned.reset();
  return apply(std::move(change), {}, {});
}

// ---- find

// A grant is also found by the name it was given to when no such account can be looked up now: it must be possible to
// revoke it.
const Grant* Service::find_living(const std::string& text) const {
  if (is_grant_id(text)) {
    const auto number = parse_number(std::string_view(text).substr(2));
    return number ? living_.find(*number) : nullptr;
  }
  if (text.starts_with("cgroup:")) return living_.of_path(text.substr(7));
  if (const auto uid = identity::find_uid(deps_.users, text)) return living_.of_uid(*uid);
  const auto found = std::ranges::find_if(living_.all(), [&](const auto& entry) {
    return entry.second.subject.kind == Subject::Kind::user && entry.second.subject.name == text && !text.empty();
  });
  return found == living_.all().end() ? nullptr : &found->second;
}

Result<Grant> Service::find(const std::string& text) const {
  if (const auto* grant = find_living(text)) return *grant;
  if (is_grant_id(text)) {
    const auto number = parse_number(std::string_view(text).substr(2));
    if (number) return deps_.store.grant(*number);
    return fail(ErrorCode::not_found, fmt::format("no grant {}: see ds01ctl list --all", escaped(text)));
  }
  DS01_CHECK(usable());
  if (!text.starts_with("cgroup:")) DS01_CHECK(identity::find_uid(deps_.users, text));
  return fail(ErrorCode::not_found, fmt::format("{} has no active grant: see ds01ctl list", escaped(text)));
}

Result<Grant> Service::find_to_change(const std::string& subject_or_id) const {
  DS01_TRY(auto grant, find(subject_or_id));
  if (!grant.is_living())
    return fail(ErrorCode::conflict, fmt::format("{} is already {}", grant.id(), to_string(grant.state)));
  return grant;
}

const Grant* Service::living_for_uid(uid_t uid) const { return living_.of_uid(uid); }

// ---- revoke and expire

Status Service::end_in_kernel(const Grant& grant) {
  if (!belongs_in_kernel(grant)) return {};
  const auto subject = kernel_subject(grant.subject);
  const auto rest = lingering(grant, deps_.clock.boot());
  auto status = rest ? linger({*rest}) : deps_.kernel.erase(std::span(&subject, 1));
  if (status) status = deps_.kernel.settle();
  if (status) return status;
  const auto entry = entry_of(grant);
  (void)deps_.kernel.put(std::span(&entry, 1));  // as it was; where that fails too, sync() repairs it
  return status;
}

Result<Grant> Service::revoke(const std::string& subject_or_id, const Actor& actor, const std::string& reason) {
  DS01_CHECK(usable());
  DS01_CHECK(check_reason(reason));
  DS01_TRY(const auto before, find_to_change(subject_or_id));
  auto grant = over(before, State::revoked, deps_.clock.wall(), actor, reason);
  DS01_CHECK(deps_.store.save(grant));
  if (auto erased = end_in_kernel(before); !erased) {
    if (const auto undone = deps_.store.save(before); !undone) {
      living_.remove(before.number);
      return both_failed(erased.error(), undone.error());
    }
    return std::unexpected(std::move(erased).error());
  }
  living_.remove(before.number);
  return grant;
}

// The kernel denies what has ended, so it may go there first. Left there, an end on the wall clock would come to life
// again with a clock that is set back.
Result<std::vector<Grant>> Service::expire(std::size_t limit, const Together<Grant>& together) {
  DS01_CHECK(usable());
  std::vector<Grant> expired;
  std::vector<ds01_subject> subjects;
  std::vector<Lingering> soft;
  const auto now = deps_.clock.wall();
  for (const auto number : living_.ends().due(deps_.clock, limit)) {
    const auto& before = *living_.find(number);
    const auto end = std::min(on_wall(before.end, deps_.clock).value_or(now), now);
    const auto* reason = before.state == State::suspended ? "account changed" : "";
    expired.push_back(over(before, State::expired, end, std::nullopt, reason));
    if (!belongs_in_kernel(before)) continue;
    const auto rest = lingering(before, deps_.clock.to_boot(end));
    if (rest)
      soft.push_back(*rest);
    else
      subjects.push_back(kernel_subject(before.subject));
  }
  if (expired.empty()) return expired;
  DS01_CHECK(deps_.kernel.erase(subjects));
  DS01_CHECK(linger(soft));
  DS01_CHECK(save_all(expired, together));
  for (const auto& grant : expired) living_.remove(grant.number);
  return expired;
}

// ---- soft ends

KernelGrant Service::entry_of(const Grant& grant) const {
  auto entry = kernel_grant(grant);
  if (grant.on_expiry == config::OnExpiry::soft)
    entry.value.soft_grace = static_cast<std::uint64_t>(nanoseconds(resolver_.settings().soft_grace).count());
  return entry;
}

// What stays in the kernel of a grant that has ended at `end`: none if nothing does.
std::optional<Service::Lingering> Service::lingering(const Grant& before, BootTime end) const {
  Lingering rest{entry_of(before), end + resolver_.settings().soft_grace};
  if (rest.entry.value.soft_grace == 0 || rest.until <= deps_.clock.boot()) return std::nullopt;
  rest.entry.value.ends = static_cast<std::uint64_t>(end.time_since_epoch().count());
  rest.entry.value.clock = DS01_BOOT_CLOCK;
  return rest;
}

Status Service::linger(const std::vector<Lingering>& grants) {
  std::vector<KernelGrant> entries;
  for (const auto& grant : grants) entries.push_back(grant.entry);
  if (entries.empty()) return {};
  DS01_CHECK(deps_.kernel.put(entries));
  for (const auto& grant : grants) lingering_[subject_key(grant.entry.subject)] = grant.until;
  return {};
}

Status Service::release() {
  std::vector<ds01_subject> over;
  for (const auto& [key, until] : lingering_)
    if (until <= deps_.clock.boot()) over.push_back({key.second, key.first, 0});
  DS01_CHECK(deps_.kernel.erase(over));
  for (const auto& subject : over) lingering_.erase(subject_key(subject));
  return {};
}

// ---- warnings

std::optional<BootTime> Service::next_due() const {
  const auto end = living_.ends().next(deps_.clock);
  const auto warning = living_.warnings().next(deps_.clock);
  std::optional<BootTime> release;
  for (const auto& [key, until] : lingering_) release = std::min(until, release.value_or(until));
  std::optional<BootTime> first;
  for (const auto& due : {end, warning, release})
    if (due) first = std::min(*due, first.value_or(*due));
  return first;
}

Result<std::vector<Grant>> Service::warn(std::size_t limit, const Together<Grant>& together) {
  DS01_CHECK(usable());
  std::vector<Grant> warned;
  for (const auto number : living_.warnings().due(deps_.clock, limit)) {
    auto grant = *living_.find(number);
    const bool ended = has_ended(grant.end, deps_.clock);
    grant.warned = ended ? seconds(0) : due_warning(grant, living_.leads(), deps_.clock);
    if (ended)
      living_.put(std::move(grant));  // too late to warn: expire() tells
    else if (grant.warned)
      warned.push_back(std::move(grant));
  }
  DS01_CHECK(save_all(warned, together));
  for (const auto& grant : warned) living_.put(grant);
  return warned;
}

// ---- list

Result<Page> Service::list(bool all, std::optional<uid_t> uid, std::size_t limit, std::uint64_t cursor) const {
  Page page;
  const auto more = limit + (limit < SIZE_MAX ? 1 : 0);  // one more tells whether there is another page
  if (all) {
    DS01_TRY(page.grants, deps_.store.list({uid, more, cursor}));
  } else if (uid) {
    const auto* own = living_.of_uid(*uid);
    if (own != nullptr && own->number > cursor) page.grants.push_back(*own);
  } else {
    auto entry = living_.all().upper_bound(cursor);
    for (; entry != living_.all().end() && page.grants.size() < more; ++entry) page.grants.push_back(entry->second);
  }
  if (page.grants.size() > limit) {
    page.grants.resize(limit);
    page.next = page.grants.empty() ? cursor : page.grants.back().number;
  }
  return page;
}

Result<Page> Service::history(std::optional<uid_t> uid, std::optional<WallTime> since, std::size_t limit,
                              std::uint64_t cursor) const {
  Page page;
  DS01_TRY(page.grants, deps_.store.history({uid, limit + (limit < SIZE_MAX ? 1 : 0), cursor}, since));
  if (page.grants.size() > limit) {
    page.grants.resize(limit);
    page.next = cursor + limit;
  }
  return page;
}

std::set<std::string> Service::cgroup_paths() const {
  std::set<std::string> paths;
  for (const auto& [path, number] : living_.by_path()) paths.insert(path);
  return paths;
}

}  // namespace ds01::grants
