// SPDX-License-Identifier: Apache-2.0
// What a grant with `kill` does at its end: TERM to the processes that still have a gated device open or mapped, and
// after a grace KILL to those that have it then. Only processes on the host that the kernel would now deny, and that is
// asked again before each signal: who was granted anew, or is in a container, is left alone. One thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/result.h"
#include "ds01/abi.h"
#include "grants/grant.h"

namespace ds01::killer {

class Killer {
 public:
  struct Deps {
    const Clock& clock;
    std::function<Result<std::vector<ds01_holder>>()> holders;
    std::function<Result<std::optional<ds01_holder>>(pid_t process, std::uint32_t device)> ask;
    std::function<std::string(std::uint64_t cgroup)> path_of;  // below the root; "" when it is gone
    // Sends the signal to the process if `still` says so while the pid is held, so that it cannot be another's.
    std::function<Status(pid_t process, int signal, const std::function<bool()>& still)> send;
    std::function<void(const grants::Grant& grant, const ds01_holder& holder, int signal)> on_signal;
  };
  Killer(Deps deps, std::chrono::seconds grace) : deps_(std::move(deps)), grace_(grace) {}

  void configure(std::chrono::seconds grace) { grace_ = grace; }

  // The grant has ended: TERM now, KILL when the grace is over.
  Status end(const grants::Grant& grant);
  // When work() has something to do.
  std::optional<BootTime> next_due() const;
  // KILL for the grants whose grace is over.
  Status work();

 private:
  struct Due {
    grants::Grant grant;
    BootTime at;
  };
  Status signal_all(const grants::Grant& grant, int signal);
  bool belongs_to(const ds01_holder& holder, const grants::Subject& subject) const;
  bool still_denied(const ds01_holder& holder) const;

  Deps deps_;
  std::chrono::seconds grace_;
  std::vector<Due> due_;  // in the order of their times
};

// By a pidfd; a process that is gone is no error.
Status send_signal(pid_t process, int signal, const std::function<bool()>& still);

}  // namespace ds01::killer
