// SPDX-License-Identifier: Apache-2.0
#include "daemon/upkeep.h"

#include <fmt/format.h>

#include "daemon/log.h"

namespace ds01::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBatch = 100;
constexpr auto kSecondLook = 5s;  // for an account that was not there
constexpr auto kRetry = 1s;       // after a failure of the store or the kernel map

}  // namespace

Upkeep::Upkeep(Deps deps) : deps_(deps), due_(deps.io), accounts_(deps.io), daily_(deps.io) {}

std::optional<BootTime> Upkeep::next_due() const {
  std::optional<BootTime> first;
  for (const auto& due : {deps_.grants.next_due(), deps_.requests.next_lapse(), deps_.killer.next_due()})
    if (due) first = std::min(*due, first.value_or(*due));
  return first;
}

void Upkeep::rearm() { arm(0s); }

void Upkeep::arm(BootClock::duration at_least) {
  const auto next = next_due();
  if (!next) {
    due_.cancel();
    return;
  }
  due_.expires_after(std::max(*next - deps_.clock.boot(), at_least));
  due_.async_wait([this](boost::system::error_code error) {
    if (!error) arm(work_or_complain() ? 0s : kRetry);
  });
}

// Whether the next round may follow at once.
bool Upkeep::work_or_complain() {
  bool worked = false;
  Status done = end_grants(worked);
  if (done) done = warn(worked);
  if (done) done = lapse_requests(worked);
  if (done) done = deps_.killer.work();
  const std::string complaint = done ? "" : done.error().message;
  if (complaint != complaint_ && !complaint.empty())
    log::error(fmt::format("{}; what has ended is denied all the same, and will be tidied up later", complaint));
  complaint_ = complaint;
  return worked && done;
}

// Who is told of an end is told in the transaction that stores it: a notice is not lost, whatever happens in between.
Status Upkeep::end_grants(bool& worked) {
  DS01_TRY(const auto ended, deps_.grants.expire(kBatch, [&](const std::vector<grants::Grant>& grants) {
    // Whoever has the uid of a suspended one is somebody else, and is told nothing.
    for (const auto& grant : grants)
      if (grant.end_reason.empty()) deps_.announcer.ended(grant);
  }));
  for (const auto& grant : ended) {
    deps_.trail.expired(grant);
    act_on_end(grant);
  }
  worked = worked || !ended.empty();
  return deps_.grants.release();
}

void Upkeep::act_on_end(const grants::Grant& grant) {
  if (grant.on_expiry != config::OnExpiry::kill) return;
  if (const auto acted = deps_.killer.end(grant); !acted)
    log::error(fmt::format("ending the processes of {}: {}", grant.id(), acted.error().message));
}

Status Upkeep::warn(bool& worked) {
  DS01_TRY(const auto warned, deps_.grants.warn(kBatch, [&](const std::vector<grants::Grant>& grants) {
    for (const auto& grant : grants) deps_.announcer.ending(grant);
  }));
  worked = worked || !warned.empty();
  return {};
}

Status Upkeep::lapse_requests(bool& worked) {
  DS01_TRY(const auto lapsed, deps_.requests.lapse(kBatch, [&](const std::vector<grants::Request>& requests) {
    for (const auto& request : requests) deps_.announcer.lapsed(request);
  }));
  for (const auto& request : lapsed) deps_.trail.answered(request);
  worked = worked || !lapsed.empty();
  return {};
}

void Upkeep::report(const std::vector<grants::AccountChange>& changes) {
  for (const auto& change : changes) {
    if (change.grant.state == grants::State::suspended)
      deps_.trail.suspended(change.grant, change.why);
    else
      deps_.trail.resumed(change.grant, change.why);
  }
}

// One that is under way starts over: it may be past the account that changed.
void Upkeep::check_accounts() {
  accounts_cursor_ = 0;
  if (checking_accounts_) return;
  checking_accounts_ = true;
  check_next_accounts();
}

void Upkeep::check_next_accounts() {
  const auto changes = deps_.grants.check_accounts(&accounts_cursor_, kBatch);
  if (!changes) log::error(fmt::format("checking the accounts of grants: {}", changes.error().message));
  if (changes && !changes->empty()) {
    report(*changes);
    rearm();
  }
  const bool over = !changes || accounts_cursor_ == 0;
  checking_accounts_ = !over;
  if (over && !deps_.grants.misses_accounts()) return;
  accounts_.expires_after(over ? BootClock::duration(kSecondLook) : 0s);
  accounts_.async_wait([this](boost::system::error_code error) {
    if (!error) check_next_accounts();
  });
}

void Upkeep::forget_old() {
  auto forgotten = deps_.store.forget_old();
  if (forgotten) forgotten = deps_.notifier.forget_old();
  if (!forgotten) log::error(fmt::format("forgetting old records: {}", forgotten.error().message));
  daily_.expires_after(24h);
  daily_.async_wait([this](boost::system::error_code error) {
    if (!error) forget_old();
  });
}

}  // namespace ds01::daemon
