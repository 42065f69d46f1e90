// SPDX-License-Identifier: Apache-2.0
// Who may do what. The decision is pure; collecting what it rests on is a function of its own.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "core/fd.h"
#include "core/result.h"
#include "grants/grant.h"
#include "http/http.h"

namespace ds01::authz {

enum class Socket { agent, admin };

// What the kernel and /proc say about the other end of a connection.
struct Facts {
  Socket socket;
  uid_t uid;
  // The process is alive, on the host, and was looked at while its pidfd held the pid. Any doubt: false.
  bool proven_host = false;
  std::optional<uid_t> login_uid;
  std::string cgroup;
};

struct Caller {
  grants::Actor actor;
  pid_t pid = 0;
  bool admin = false;
  bool on_host = false;
  std::string cgroup;
};

// Looks the peer up. Where the kernel hands out a pidfd for the peer (6.5) nothing else will do; before, one is opened
// here, which a pid used again could fool: so this is the second check, behind the kernel's gate on admin.sock.
Facts collect(const std::filesystem::path& proc, Socket socket, const http::Peer& peer);

// Admin rights exist on admin.sock only, for host processes of root and of `admins`.
bool is_admin(const Facts& facts, const std::set<uid_t>& admins);

}  // namespace ds01::authz
