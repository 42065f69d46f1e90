// SPDX-License-Identifier: Apache-2.0
#include "daemon/watches.h"

#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace ds01::daemon {

Result<Fd> watch_clock() {
  Fd timer(::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return fail_errno("timerfd");
  rearm_clock_watch(timer.get());
  return timer;
}

// A timer that is never due and is cancelled when the clock is set; read() then ends with ECANCELED.
void rearm_clock_watch(int fd) {
  std::uint64_t expirations = 0;
  (void)!::read(fd, &expirations, sizeof expirations);
  itimerspec never = {};
  never.it_value.tv_sec = 1LL << 40;
  (void)::timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr);
}

Result<Fd> watch_accounts(const std::filesystem::path& folder) {
  Fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch || ::inotify_add_watch(watch.get(), folder.c_str(), IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR) < 0)
    return fail_errno("watching " + folder.string());
  return watch;
}

bool drain_accounts_watch(int fd) {
  alignas(inotify_event) std::array<char, 4096> buffer;
  bool concerned = false;
  for (ssize_t length; (length = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    for (ssize_t at = 0; at < length;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      const std::string_view name(event->len != 0 ? event->name : "");
      concerned = concerned || name == "passwd" || name == "group" || (event->mask & IN_Q_OVERFLOW) != 0;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  return concerned;
}

}  // namespace ds01::daemon
