// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "http/http.h"
#include "http/peer.h"
#include "http/unix_address.h"

namespace ds01::http {
namespace {

constexpr int kBacklog = 128;

Result<Fd> new_socket() {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  return socket;
}

// Only a listener that is gone refuses connections: then the file is a leftover.
Status check_stale(const sockaddr_un& address) {
  DS01_TRY(const Fd probe, new_socket());
  if (::connect(probe.get(), as_sockaddr(address), sizeof address) < 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) return {};
    if (errno != EAGAIN) return fail_errno(fmt::format("{}: is anybody listening?", address.sun_path));
  }
  return fail(ErrorCode::conflict, fmt::format("{}: another process is listening on it", address.sun_path));
}

Status remove_stale(const sockaddr_un& address) {
  struct stat found{};
  if (::lstat(address.sun_path, &found) < 0) {
    if (errno == ENOENT) return {};
    return fail_errno(address.sun_path);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return fail(ErrorCode::conflict, fmt::format("{}: exists and is not a socket; remove it", address.sun_path));
  }
  DS01_CHECK(check_stale(address));
  if (::unlink(address.sun_path) < 0 && errno != ENOENT) return fail_errno(address.sun_path);
  return {};
}

Status set_rights(const sockaddr_un& address, mode_t mode, gid_t gid) {
  if (::lchown(address.sun_path, static_cast<uid_t>(-1), gid) < 0 || ::chmod(address.sun_path, mode) < 0) {
    return fail_errno(address.sun_path);
  }
  return {};
}

}  // namespace

Result<Fd> listen_unix(const std::filesystem::path& path, mode_t mode, gid_t gid,
                       const std::function<Status()>& before_listen) {
  DS01_TRY(const sockaddr_un address, unix_address(path));
  DS01_TRY(Fd socket, new_socket());
  DS01_CHECK(pass_credentials(socket.get()));
  DS01_CHECK(remove_stale(address));
  // bind() gives the file the mode of the socket's own inode less the umask: with 0 there is no moment with too much.
  if (::fchmod(socket.get(), 0) < 0) return fail_errno(path.native());
  if (::bind(socket.get(), as_sockaddr(address), sizeof address) < 0) return fail_errno(path.native());
  if (before_listen) {
    if (auto prepared = before_listen(); !prepared) {
      ::unlink(path.c_str());
      return std::unexpected(std::move(prepared).error());
    }
  }
  DS01_CHECK(set_rights(address, mode, gid));
  if (::listen(socket.get(), kBacklog) < 0) return fail_errno(path.native());
  return socket;
}

}  // namespace ds01::http
