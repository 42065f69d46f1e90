// SPDX-License-Identifier: Apache-2.0
#include "audit/limiter.h"

namespace ds01::audit {

void Limiter::begin(const std::map<uid_t, std::uint64_t>& totals) {
  for (const auto& [uid, total] : totals) users_[uid].reported = total;
}

Tier Limiter::admit(uid_t uid, BootTime now, bool counted) {
  auto& user = users_[uid];
  if (!user.opened) {
    user.opened = now;
    user.in_window = 0;
  }
  if (user.in_window >= limit_) return Tier::suppressed;
  if (counted) ++user.written;
  return user.in_window++ == 0 ? Tier::warning : Tier::notice;
}

std::vector<Limiter::Summary> Limiter::close(BootTime now, const std::map<uid_t, std::uint64_t>& totals, bool final) {
  std::vector<Summary> summaries;
  for (const auto& [uid, total] : totals) {
    auto& user = users_[uid];
    // Denials without a window: all their events were lost. They get one now, so that a summary follows.
    if (!user.opened && total > user.written + user.reported) user.opened = now;
    if (!user.opened || (!final && now - *user.opened < window_)) continue;
    user.opened.reset();
    const auto known = user.written + user.reported;
    if (total <= known) continue;
    summaries.push_back({uid, total - known});
    user.reported += total - known;
  }
  // A user without a total (the kernel's count map was full) gets no summary, but a new window all the same.
  for (auto& [uid, user] : users_)
    if (user.opened && (final || now - *user.opened >= window_)) user.opened.reset();
  return summaries;
}

}  // namespace ds01::audit
