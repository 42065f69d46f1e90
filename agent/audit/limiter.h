// SPDX-License-Identifier: Apache-2.0
// How many lines one user's denials may write: the first of a window at warning, the next ones at notice up to the
// limit, then nothing but one summary with the exact number when the window closes. Pure state; time is passed in.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/clock.h"

namespace ds01::audit {

enum class Tier { warning, notice, suppressed };

class Limiter {
 public:
  Limiter(std::uint32_t limit, std::chrono::nanoseconds window) : limit_(limit), window_(window) {}
  void configure(std::uint32_t limit, std::chrono::nanoseconds window) {
    limit_ = limit;
    window_ = window;
  }

  // The kernel's counts survive the agent: `totals` were there when it started, and are in no summary.
  void begin(const std::map<uid_t, std::uint64_t>& totals);

  // A denial of `uid` is about to be written. One that is among the totals of begin() is not `counted` here.
  Tier admit(uid_t uid, BootTime now, bool counted = true);

  struct Summary {
    uid_t uid;
    std::uint64_t suppressed;
  };
  // Closes the windows that are over (all of them if `final`). `totals` are the kernel's exact counts of denials per
  // uid: what was neither written nor summed up before is what was suppressed, here or in the kernel.
  std::vector<Summary> close(BootTime now, const std::map<uid_t, std::uint64_t>& totals, bool final);

 private:
  struct User {
    std::optional<BootTime> opened;
    std::uint32_t in_window = 0;
    std::uint64_t written = 0;   // lines since the start, for what is counted since
    std::uint64_t reported = 0;  // counted at the start, or summed up since
  };
  std::uint32_t limit_;
  std::chrono::nanoseconds window_;
  std::map<uid_t, User> users_;
};

}  // namespace ds01::audit
