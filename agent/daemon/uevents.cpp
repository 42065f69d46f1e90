// SPDX-License-Identifier: Apache-2.0
#include "daemon/uevents.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace ds01::daemon {
namespace {

constexpr unsigned kKernelGroup = 1;

// "add@/module/nvidia_uvm", then KEY=VALUE lines.
bool concerns_devices(std::string_view event) {
  return event.find("@/module/") != std::string_view::npos || event.find("@/devices/") != std::string_view::npos;
}

}  // namespace

Result<Fd> open_uevents() {
  Fd socket(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("kernel uevents");
  return socket;
}

bool drain_uevents(int fd) {
  std::array<char, 8192> buffer;
  bool relevant = false;
  for (;;) {
    sockaddr_nl sender = {};
    socklen_t size = sizeof sender;
    const ssize_t length = ::recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&sender), &size);
    if (length < 0 && errno == ENOBUFS) relevant = true;
    if (length < 0 && errno == EAGAIN) return relevant;
    if (length < 0 && errno != EINTR && errno != ENOBUFS) return relevant;
    if (length > 0 && sender.nl_pid == 0)  // from the kernel
      relevant = concerns_devices({buffer.data(), static_cast<std::size_t>(length)}) || relevant;
  }
}

}  // namespace ds01::daemon
