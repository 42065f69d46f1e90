// SPDX-License-Identifier: Apache-2.0
#include "audit/sinks.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <syslog.h>

#include <algorithm>
#include <cctype>
#include <vector>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <fmt/format.h>
#include <systemd/sd-journal.h>

#include "core/files.h"

namespace ds01::audit {

Status JournalSink::write(const Entry& entry) {
  std::vector<std::string> lines{
      "MESSAGE=" + entry.message,
      fmt::format("MESSAGE_ID={}", message_id(entry.kind)),
      fmt::format("PRIORITY={}", static_cast<int>(entry.level)),
      fmt::format("SYSLOG_FACILITY={}", LOG_FAC(LOG_AUTH)),
      "SYSLOG_IDENTIFIER=ds01d",
      fmt::format("DS01_KIND={}", name_of(entry.kind)),
  };
  for (const auto& [key, value] : entry.fields) {
    std::string name = "DS01_" + key;
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    lines.push_back(name + "=" + value);
    if (key == "pid") lines.push_back("OBJECT_PID=" + value);
  }
  std::vector<iovec> parts;
  for (auto& line : lines) parts.push_back({line.data(), line.size()});
  if (const int error = sd_journal_sendv(parts.data(), static_cast<int>(parts.size())); error < 0)
    return fail_errno("journald", -error);
  return {};
}

Status JsonSink::reopen() {
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640));
  if (!fd_) return fail_errno(path_.string());
  return {};
}

Status JsonSink::write(const Entry& entry) {
  if (!fd_) return fail(ErrorCode::unavailable, fmt::format("{}: not open", path_.string()));
  const auto written = write_all(fd_.get(), (torn_ ? "\n" : "") + to_json(entry) + "\n", path_.string());
  torn_ = !written;
  return written;
}

}  // namespace ds01::audit
