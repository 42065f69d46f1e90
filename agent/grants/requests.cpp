// SPDX-License-Identifier: Apache-2.0
#include "grants/requests.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/files.h"
#include "core/text.h"

namespace ds01::grants {
namespace {

using std::chrono::nanoseconds;

GrantRequest grant_request(const Request& request) {
  GrantRequest wanted;
  wanted.subject = fmt::format("uid:{}", request.who.uid);
  wanted.end = request.duration;
  wanted.gpus = request.gpus;
  wanted.reason = request.reason;
  return wanted;
}

// What stands for the person who granted, where a rule of the configuration did.
constexpr std::string_view kRule = "auto-approval (";

bool is_rule(const Actor& actor) { return actor.uid == 0 && actor.name.starts_with(kRule); }

Request answered(Request request, RequestState state, WallTime when, std::optional<Actor> by) {
  request.state = state;
  request.decided = when;
  request.decided_by = std::move(by);
  return request;
}

std::unexpected<Error> no_request(const std::string& id) {
  return fail(ErrorCode::not_found, fmt::format("no request {}: see ds01ctl requests", escaped(id)));
}

Result<std::uint64_t> request_number(const std::string& id) {
  const auto number = id.starts_with("r-") ? parse_number(std::string_view(id).substr(2)) : parse_number("");
  if (!number) return no_request(id);
  return *number;
}

}  // namespace

// ---- what is pending

Status Requests::load() {
  DS01_TRY(const auto pending, deps_.store.pending_requests());
  for (const auto& request : pending) remember(request);
  return {};
}

void Requests::remember(const Request& request) {
  pending_.emplace(request.number, request);
  ++pending_of_[request.who.uid];
  lapses_.set(request.number, request.lapses);
}

void Requests::forget(const Request& request) {
  if (pending_.erase(request.number) == 0) return;
  lapses_.remove(request.number);
  if (--pending_of_[request.who.uid] == 0) pending_of_.erase(request.who.uid);
}

std::size_t Requests::pending_count(std::optional<uid_t> uid) const {
  if (!uid) return pending_.size();
  const auto found = pending_of_.find(*uid);
  return found == pending_of_.end() ? 0 : found->second;
}

// ---- ask

Status Requests::check_pending(uid_t uid) const {
  const std::size_t limit = settings_.max_pending_per_user;
  if (limit == 0)
    return fail(ErrorCode::limited,
                "this host takes no requests (grants.max_pending_per_user is 0 in agent.yaml): ask an admin");
  if (pending_count(uid) < limit) return {};
  return fail(ErrorCode::limited, fmt::format("you have {} pending requests already, the most there may be "
                                              "(grants.max_pending_per_user in agent.yaml): wait for an answer",
                                              pending_count(uid)));
}

// Instead of what the service says, whose advice is for admins.
std::unexpected<Error> Requests::already_longer(uid_t uid) const {
  const auto* own = deps_.service.living_for_uid(uid);
  const auto end = own == nullptr ? std::nullopt : on_wall(own->end, deps_.clock);
  return fail(ErrorCode::conflict, fmt::format("you already have {} {}, which is longer than what you ask for",
                                               own == nullptr ? "a grant" : own->id(),
                                               end ? "until " + format_utc(*end) : "without an end"));
}

// The group by whose rule nobody needs to be asked. A name service that fails approves nothing.
std::optional<std::string> Requests::approving_group(const Request& request) const {
  for (const auto& rule : settings_.auto_approve) {
    if (request.duration > rule.up_to) continue;
    const auto member = deps_.users.is_member(request.who.uid, rule.group);
    if (member && *member) return rule.group;
  }
  return std::nullopt;
}

// A rule neither replaces what the user has, nor makes one grant after the other of its short ones: after each the user
// waits as long as it lasted, or for an admin.
bool Requests::may_be_automatic(uid_t uid) const {
  if (deps_.service.living_for_uid(uid) != nullptr) return false;
  const auto last = deps_.service.history(uid, std::nullopt, 1, 0);
  if (!last) return false;
  if (last->grants.empty() || !is_rule(last->grants.front().granted_by)) return true;
  const auto& grant = last->grants.front();
  const auto ended = grant.ended.value_or(grant.created);
  return deps_.clock.wall() >= ended + (ended - grant.created);
}

Result<Request> Requests::approve_by_rule(Request request, const std::string& group) {
  const Actor rule{0, fmt::format("{}{})", kRule, group), std::nullopt};
  request = answered(std::move(request), RequestState::approved, deps_.clock.wall(), std::nullopt);
  const Along along{[&](const Grant& grant) {
                      request.grant = grant.number;
                      return deps_.store.add(request);
                    },
                    [&] { return deps_.store.remove_request(request.number); }};
  DS01_CHECK(deps_.service.grant(grant_request(request), rule, along));
  return request;
}

Result<Request> Requests::ask(const Ask& ask, const Actor& who) {
  DS01_CHECK(check_pending(who.uid));
  if (ask.reason.empty()) return fail(ErrorCode::invalid, "a request needs a reason: add --reason TEXT");
  Request request;
  request.who = who;
  request.gpus = ask.gpus;
  request.reason = ask.reason;
  request.created = deps_.clock.wall();
  request.lapses = deps_.clock.boot() + settings_.request_ttl;
  auto wanted = grant_request(request);
  wanted.end = ask.duration ? AskedEnd(*ask.duration) : AskedEnd();
  wanted.dry_run = true;
  const auto checked = deps_.service.grant(wanted, who);
  if (!checked && checked.error().code == ErrorCode::conflict) return already_longer(who.uid);
  if (!checked) return std::unexpected(checked.error());
  if (checked->subject.name.empty())
    return fail(ErrorCode::invalid,
                fmt::format("uid {} has no account: an admin can grant it directly, as uid:{}", who.uid, who.uid));
  request.who.name = checked->subject.name;
  request.duration = checked->term;
  if (may_be_automatic(who.uid))
    if (const auto group = approving_group(request)) return approve_by_rule(std::move(request), *group);
  DS01_CHECK(deps_.store.add(request));
  remember(request);
  return request;
}

// ---- answer

Result<const Request*> Requests::find_pending(const std::string& id) const {
  DS01_TRY(const auto request, find(id));
  const auto pending = pending_.find(request.number);
  if (pending == pending_.end())
    return fail(ErrorCode::conflict, fmt::format("{} is already {}", request.id(), to_string(request.state)));
  if (has_ended(request.lapses, deps_.clock))
    return fail(ErrorCode::conflict, fmt::format("{} has lapsed: it must be asked anew", request.id()));
  return &pending->second;
}

// Whoever has the uid now did not ask, if the account is another one.
Status Requests::check_account(const Request& request) const {
  const auto name = deps_.users.name_of(request.who.uid);
  if (!name && name.error().code != ErrorCode::not_found) return std::unexpected(name.error());
  if (name && *name == request.who.name) return {};
  return fail(ErrorCode::conflict, fmt::format("uid {} is {} now, and {} asked: deny {}", request.who.uid,
                                               name ? *name : "without an account", request.who.name, request.id()));
}

Result<Requests::Approved> Requests::approve(const std::string& id, std::optional<std::chrono::seconds> duration,
                                             const Actor& actor) {
  DS01_TRY(const auto* pending, find_pending(id));
  const Request before = *pending;
  DS01_CHECK(check_account(before));
  auto request = answered(before, RequestState::approved, deps_.clock.wall(), actor);
  auto wanted = grant_request(before);
  wanted.end = duration.value_or(before.duration);
  const Along along{[&](const Grant& grant) {
                      request.grant = grant.number;
                      return deps_.store.save(request);
                    },
                    [&] { return deps_.store.save(before); }};
  DS01_TRY(auto grant, deps_.service.grant(wanted, actor, along));
  forget(before);
  return Approved{std::move(request), std::move(grant)};
}

Result<Request> Requests::deny(const std::string& id, const std::string& reason, const Actor& actor) {
  DS01_TRY(const auto* pending, find_pending(id));
  if (reason.empty()) return fail(ErrorCode::invalid, "a denial needs a reason: add --reason TEXT");
  DS01_CHECK(check_reason(reason));
  auto request = answered(*pending, RequestState::denied, deps_.clock.wall(), actor);
  request.answer = reason;
  DS01_CHECK(deps_.store.save(request));
  forget(request);
  return request;
}

// ---- find and list

Result<Request> Requests::find(const std::string& id) const {
  DS01_TRY(const auto number, request_number(id));
  if (const auto pending = pending_.find(number); pending != pending_.end()) return pending->second;
  return deps_.store.request(number);
}

Result<Requests::Page> Requests::list(bool all, std::optional<uid_t> uid, std::size_t limit,
                                      std::uint64_t cursor) const {
  Page page;
  const auto more = limit + (limit < SIZE_MAX ? 1 : 0);  // one more tells whether there is another page
  if (all) {
    DS01_TRY(page.requests, deps_.store.list_requests({uid, more, cursor}));
  } else {
    auto entry = pending_.upper_bound(cursor);
    for (; entry != pending_.end() && page.requests.size() < more; ++entry)
      if (!uid || entry->second.who.uid == *uid) page.requests.push_back(entry->second);
  }
  if (page.requests.size() > limit) {
    page.requests.resize(limit);
    page.next = page.requests.empty() ? cursor : page.requests.back().number;
  }
  return page;
}

// ---- lapse

std::optional<BootTime> Requests::next_lapse() const { return lapses_.next(deps_.clock); }

Result<std::vector<Request>> Requests::lapse(std::size_t limit, const Together<Request>& together) {
  std::vector<Request> lapsed;
  for (const auto number : lapses_.due(deps_.clock, limit))
    lapsed.push_back(answered(pending_.at(number), RequestState::lapsed, deps_.clock.wall(), std::nullopt));
  if (lapsed.empty()) return lapsed;
  const auto stored = deps_.store.transaction([&]() -> Status {
    for (const auto& request : lapsed) DS01_CHECK(deps_.store.save(request));
    if (together) together(lapsed);
    return {};
  });
  if (!stored) return std::unexpected(stored.error());
  for (const auto& request : lapsed) forget(request);
  return lapsed;
}

}  // namespace ds01::grants
