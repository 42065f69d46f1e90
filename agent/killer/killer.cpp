// SPDX-License-Identifier: Apache-2.0
#include "killer/killer.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include <fmt/format.h>

#include "core/fd.h"

namespace ds01::killer {

bool Killer::belongs_to(const ds01_holder& holder, const grants::Subject& subject) const {
  if (subject.kind == grants::Subject::Kind::user) return holder.uid == subject.uid;
  const auto path = deps_.path_of(holder.cgroup);
  return path == subject.path || path.starts_with(subject.path + "/");
}

// The same process, by pid and start, which would still not get the device.
bool Killer::still_denied(const ds01_holder& holder) const {
  const auto now = deps_.ask(static_cast<pid_t>(holder.tgid), holder.device);
  return now && *now && (*now)->task_start == holder.task_start && (*now)->on_host != 0 && (*now)->allowed == 0;
}

Status Killer::signal_all(const grants::Grant& grant, int signal) {
  DS01_TRY(const auto holders, deps_.holders());
  std::set<std::uint32_t> done;
  for (const auto& holder : holders) {
    if (holder.allowed != 0 || holder.on_host == 0 || !belongs_to(holder, grant.subject)) continue;
    if (!done.insert(holder.tgid).second) continue;
    bool sent = false;
    DS01_CHECK(deps_.send(static_cast<pid_t>(holder.tgid), signal, [&] { return sent = still_denied(holder); }));
    if (sent) deps_.on_signal(grant, holder, signal);
  }
  return {};
}

Status Killer::end(const grants::Grant& grant) {
  due_.push_back({grant, deps_.clock.boot() + grace_});
  std::ranges::stable_sort(due_, {}, &Due::at);
  return signal_all(grant, SIGTERM);
}

std::optional<BootTime> Killer::next_due() const {
  if (due_.empty()) return std::nullopt;
  return due_.front().at;
}

Status Killer::work() {
  while (!due_.empty() && due_.front().at <= deps_.clock.boot()) {
    DS01_CHECK(signal_all(due_.front().grant, SIGKILL));
    due_.erase(due_.begin());
  }
  return {};
}

Status send_signal(pid_t process, int signal, const std::function<bool()>& still) {
  const Fd held(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (!held || !still()) return {};
  if (::syscall(SYS_pidfd_send_signal, held.get(), signal, nullptr, 0) == 0 || errno == ESRCH) return {};
  return fail_errno(fmt::format("signal {} to process {}", signal, process));
}

}  // namespace ds01::killer
