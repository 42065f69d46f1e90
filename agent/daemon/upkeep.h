// SPDX-License-Identifier: Apache-2.0
// What falls due by itself: ends of grants, warnings, requests that lapse, accounts that change, old records. In
// batches, so that the control API answers in between. Nothing here decides about access: the kernel has denied since
// the end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "audit/trail.h"
#include "grants/requests.h"
#include "grants/service.h"
#include "killer/killer.h"
#include "notify/announcer.h"
#include "notify/notifier.h"

namespace ds01::daemon {

class Upkeep {
 public:
  struct Deps {
    boost::asio::io_context& io;
    const Clock& clock;
    grants::Service& grants;
    grants::Store& store;
    grants::Requests& requests;
    notify::Notifier& notifier;
    notify::Announcer& announcer;
    audit::Trail& trail;
    killer::Killer& killer;
  };
  explicit Upkeep(Deps deps);

  // Something may be due earlier or later than before.
  void rearm();
  // Accounts may have changed.
  void check_accounts();
  void report(const std::vector<grants::AccountChange>& changes);
  // A grant is over: acts on the processes that still hold a device, where it says so.
  void act_on_end(const grants::Grant& grant);
  // Records that nobody needs any more; now and once a day.
  void forget_old();

 private:
  std::optional<BootTime> next_due() const;
  void arm(BootClock::duration at_least);
  bool work_or_complain();
  Status end_grants(bool& worked);
  Status warn(bool& worked);
  Status lapse_requests(bool& worked);
  void check_next_accounts();

  Deps deps_;
  boost::asio::steady_timer due_;
  boost::asio::steady_timer accounts_;
  boost::asio::steady_timer daily_;
  std::uint64_t accounts_cursor_ = 0;
  bool checking_accounts_ = false;
  std::string complaint_;  // the last one logged, so that a full disk does not fill the log too
};

}  // namespace ds01::daemon
