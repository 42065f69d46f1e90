// SPDX-License-Identifier: Apache-2.0
#include "daemon/upkeep.h"

#include <fmt/format.h>

#include "daemon/log.h"

namespace ds01::daemon {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBatch = 100;
constexpr auto kRetry = 1s;  // after a failure of the store or the kernel map

}  // namespace

Upkeep::Upkeep(Deps deps) : deps_(deps), due_(deps.io), accounts_(deps.io), daily_(deps.io) {}

std::optional<BootTime> Upkeep::next_due() const {
  const auto grants = deps_.grants.next_due();
  const auto requests = deps_.requests.next_lapse();
  if (!grants || !requests) return grants ? grants : requests;
  return std::min(*grants, *requests);
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
  const std::string complaint = done ? "" : done.error().message;
  if (complaint != complaint_ && !complaint.empty())
    log::error(fmt::format("{}; what has ended is denied all the same, and will be tidied up later", complaint));
  complaint_ = complaint;
  return worked && done;
}

template <class Batch, class Record, class Announce>
Status Upkeep::handle(const Batch& batch, bool& worked, Record record, Announce announce) {
  if (!batch) return std::unexpected(batch.error());
  if (batch->empty()) return {};
  worked = true;
  for (const auto& item : *batch) record(item);
  return deps_.database.transaction([&]() -> Status {
    for (const auto& item : *batch) announce(item);
    return {};
  });
}

Status Upkeep::end_grants(bool& worked) {
  return handle(
      deps_.grants.expire(kBatch), worked, [&](const grants::Grant& grant) { deps_.trail.expired(grant); },
      [&](const grants::Grant& grant) { deps_.announcer.ended(grant); });
}

Status Upkeep::warn(bool& worked) {
  return handle(
      deps_.grants.warn(kBatch), worked, [](const grants::Grant&) {},
      [&](const grants::Grant& grant) { deps_.announcer.ending(grant); });
}

Status Upkeep::lapse_requests(bool& worked) {
  return handle(
      deps_.requests.lapse(kBatch), worked, [&](const grants::Request& request) { deps_.trail.answered(request); },
      [&](const grants::Request& request) { deps_.announcer.lapsed(request); });
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
  if (!changes || accounts_cursor_ == 0) {
    checking_accounts_ = false;
    return;
  }
  accounts_.expires_after(0s);
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
