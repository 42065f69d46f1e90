// SPDX-License-Identifier: Apache-2.0
#include "http/peer.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace ds01::http {
namespace {

constexpr int kSoPeerPidfd = 77;  // SO_PEERPIDFD: newer than the headers of Debian 12

// Space for the credentials and not a byte more: with no room left the kernel drops passed descriptors and says
// MSG_CTRUNC. They must never get into our table, because close() of a file on somebody's FUSE mount can block for
// good.
struct ControlRoom {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(ucred))];
};

// Bytes queued without credentials (the option was off when they were sent) come as pid 0, uid 65534: nobody's.
bool is_from(msghdr& message, const Peer& peer) {
  const cmsghdr* control = CMSG_FIRSTHDR(&message);
  if (control == nullptr || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_CREDENTIALS) return false;
  ucred sender{};
  std::memcpy(&sender, CMSG_DATA(control), sizeof sender);
  return sender.pid > 0 && sender.pid == peer.pid && sender.uid == peer.uid && sender.gid == peer.gid;
}

// While the process that connected lives, its pid is nobody else's. Without a pidfd the pid alone has to do.
bool may_be_reused(const Peer& peer) {
  if (!peer.pidfd) return false;
  pollfd exit{.fd = peer.pidfd.get(), .events = POLLIN, .revents = 0};
  return ::poll(&exit, 1, 0) != 0;
}

Incoming judge(msghdr& message, const Peer& peer) {
  if (!is_from(message, peer) || may_be_reused(peer)) return Incoming::foreign;
  return (message.msg_flags & MSG_CTRUNC) != 0 ? Incoming::descriptors : Incoming::bytes;
}

}  // namespace

Status pass_credentials(int socket) {
  const int on = 1;
  if (::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) return fail_errno("SO_PASSCRED");
  return {};
}

Result<Peer> peer_of(int socket) {
  ucred connected{};
  socklen_t size = sizeof connected;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &connected, &size) < 0) return fail_errno("SO_PEERCRED");
  Peer peer{.pid = connected.pid, .uid = connected.uid, .gid = connected.gid, .pidfd = {}, .pidfd_error = 0};
  int pidfd = -1;  // the kernel makes it close-on-exec
  size = sizeof pidfd;
  if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &pidfd, &size) < 0) {
    peer.pidfd_error = errno;
  } else {
    peer.pidfd.reset(pidfd);
  }
  return peer;
}

Received receive(int socket, std::span<char> room, const Peer& peer) {
  iovec data{.iov_base = room.data(), .iov_len = room.size()};
  ControlRoom control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {Incoming::nothing_yet};
  if (size <= 0) return {Incoming::end};  // the end comes with credentials too, all zero: not to be judged by them
  return {judge(message, peer), static_cast<std::size_t>(size)};
}

}  // namespace ds01::http
