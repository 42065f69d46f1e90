// SPDX-License-Identifier: Apache-2.0
#include "notify/terminals.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utmp.h>

#include <cerrno>
#include <cstring>

#include "core/fd.h"
#include "core/files.h"

namespace ds01::notify {
namespace {

constexpr std::size_t kUtmpLimit = 1024 * 1024;

constexpr unsigned kConsoleMajor = 4;
constexpr unsigned kFirstPtyMajor = 136;
constexpr unsigned kLastPtyMajor = 143;

// What is open may be something else than what the name promised, or somebody else's by now.
bool may_write(int fd, uid_t uid) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && is_terminal(status.st_rdev) && status.st_uid == uid &&
         (status.st_mode & S_IWGRP) != 0;
}

}  // namespace

bool is_terminal_name(std::string_view name) {
  const auto digits = name.starts_with("pts/") ? name.substr(4) : name.starts_with("tty") ? name.substr(3) : "";
  return !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
}

bool is_terminal(dev_t device) {
  const auto number = major(device);
  return number == kConsoleMajor || (number >= kFirstPtyMajor && number <= kLastPtyMajor);
}

std::vector<std::string> utmp_terminals(const std::filesystem::path& utmp) {
  const auto data = read_file(utmp, kUtmpLimit);
  std::vector<std::string> names;
  struct utmp record;
  for (std::size_t at = 0; data && at + sizeof record <= data->size(); at += sizeof record) {
    std::memcpy(&record, data->data() + at, sizeof record);
    if (record.ut_type != USER_PROCESS) continue;
    names.emplace_back(record.ut_line, ::strnlen(record.ut_line, sizeof record.ut_line));
  }
  return names;
}

bool write_to_terminal(const std::filesystem::path& dev, std::string_view name, uid_t uid, std::string_view data) {
  if (!is_terminal_name(name)) return false;
  const Fd fd(::open((dev / name).c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || !may_write(fd.get(), uid)) return false;
  // Once: a terminal that takes only a part is full, and the rest would come in the midst of what follows.
  ssize_t written = 0;
  do written = ::write(fd.get(), data.data(), data.size());
  while (written < 0 && errno == EINTR);
  return written > 0;
}

}  // namespace ds01::notify
