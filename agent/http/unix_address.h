// SPDX-License-Identifier: Apache-2.0
// A path as a socket address. sun_path is 108 bytes, one of them for the end.
#pragma once

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

#include "core/result.h"

namespace ds01::http {

inline Result<sockaddr_un> unix_address(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof address.sun_path || text.find('\0') != std::string::npos) {
    return fail(ErrorCode::invalid, fmt::format("{}: a socket's path must have 1 to {} bytes, this has {}", text,
                                                sizeof address.sun_path - 1, text.size()));
  }
  text.copy(address.sun_path, text.size());
  return address;
}

inline const sockaddr* as_sockaddr(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

}  // namespace ds01::http
