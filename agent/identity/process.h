// SPDX-License-Identifier: Apache-2.0
// What /proc tells of another process. Racy by nature: a pid may be used again between two reads, so callers that
// decide something by it hold a pidfd or compare the start time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "core/result.h"

namespace ds01::identity {

struct Process {
  std::string executable;  // the target of /proc/PID/exe; empty for a kernel thread
  std::string cgroup;      // v2 path, "/user.slice/…"
  std::optional<uid_t> login_uid;
  std::uint64_t start_ticks = 0;  // since boot, in clock ticks: with the pid, the identity of a process
};

Result<Process> read_process(const std::filesystem::path& proc, pid_t pid);

// Whose rights a process acts and opens files with, in the initial user namespace.
struct Rights {
  std::string comm;
  uid_t uid;       // real
  uid_t file_uid;  // for files
  std::set<gid_t> groups;
  bool overrides_modes;  // root with CAP_DAC_OVERRIDE: file modes do not bind it
};
// not_found: no such process.
Result<Rights> read_rights(const std::filesystem::path& proc, pid_t pid);

// Whether the process shares this process's pid and user namespaces and lies in no container's cgroup. Any doubt: an
// error.
Result<bool> is_on_host(const std::filesystem::path& proc, pid_t pid);

}  // namespace ds01::identity
