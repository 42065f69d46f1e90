// SPDX-License-Identifier: Apache-2.0
#include "authz/authz.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "identity/process.h"

namespace ds01::authz {
namespace {

// A pidfd is readable once its process has ended.
bool is_alive(const Fd& pidfd) {
  pollfd entry{pidfd.get(), POLLIN, 0};
  return pidfd && ::poll(&entry, 1, 0) == 0;
}

}  // namespace

Facts collect(const std::filesystem::path& proc, Socket socket, const http::Peer& peer) {
  Facts facts{socket, peer.uid, false, std::nullopt, ""};
  Fd opened;
  if (!peer.pidfd && peer.pidfd_error == ENOPROTOOPT)
    opened.reset(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  const Fd& process = peer.pidfd ? peer.pidfd : opened;
  if (!process) return facts;
  const auto host = identity::is_on_host(proc, peer.pid);
  const auto seen = identity::read_process(proc, peer.pid);
  if (!is_alive(process)) return facts;  // what was read may be about a later process
  facts.proven_host = host.value_or(false);
  if (seen) facts.login_uid = seen->login_uid;
  if (seen) facts.cgroup = seen->cgroup;
  return facts;
}

bool is_admin(const Facts& facts, const std::set<uid_t>& admins) {
  return facts.socket == Socket::admin && facts.proven_host && (facts.uid == 0 || admins.contains(facts.uid));
}

}  // namespace ds01::authz
