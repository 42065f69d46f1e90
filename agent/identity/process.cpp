// SPDX-License-Identifier: Apache-2.0
#include "identity/process.h"

#include <unistd.h>
#include <climits>

#include <algorithm>

#include <fmt/format.h>

#include "core/files.h"
#include "identity/cgroups.h"

namespace ds01::identity {
namespace {

constexpr std::uint32_t kNoLogin = ~std::uint32_t{0};

Result<std::string> read_link(const std::filesystem::path& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return fail_errno(path.string());
  target.resize(static_cast<std::size_t>(length));
  return target;
}

// Field 22 of /proc/PID/stat. The second one, the name, is in parentheses and may hold anything, parentheses too.
Result<std::uint64_t> start_ticks(const std::string& stat) {
  const auto fields = split(std::string_view(stat).substr(std::min(stat.rfind(')') + 1, stat.size())), ' ');
  if (fields.size() < 20) return fail(ErrorCode::system, "malformed /proc/PID/stat");
  return parse_number(fields[19]);
}

Result<std::string> v2_path(const std::filesystem::path& folder) {
  DS01_TRY(const auto text, read_file(folder / "cgroup", 1 << 16));
  for (const auto line : split(text, '\n'))
    if (line.starts_with("0::")) return std::string(line.substr(3));
  return fail(ErrorCode::not_found, fmt::format("{}/cgroup: not in a cgroup v2", folder.string()));
}

Result<bool> same_namespace(const std::filesystem::path& proc, const std::filesystem::path& folder, const char* kind) {
  DS01_TRY(const auto own, read_link(proc / "self/ns" / kind));
  DS01_TRY(const auto other, read_link(folder / "ns" / kind));
  return own == other;
}

}  // namespace

Result<Process> read_process(const std::filesystem::path& proc, pid_t pid) {
  const auto folder = proc / std::to_string(pid);
  Process process;
  DS01_TRY(const auto stat, read_file(folder / "stat", 4096));
  DS01_TRY(process.start_ticks, start_ticks(stat));
  DS01_TRY(process.cgroup, v2_path(folder));
  process.executable = read_link(folder / "exe").value_or("");
  const auto login = read_file(folder / "loginuid", 64);
  const auto uid = login ? parse_number(*login) : kNoLogin;
  if (uid && *uid != kNoLogin) process.login_uid = static_cast<uid_t>(*uid);
  return process;
}

Result<bool> is_on_host(const std::filesystem::path& proc, pid_t pid) {
  const auto folder = proc / std::to_string(pid);
  for (const char* kind : {"pid", "user"}) {
    DS01_TRY(const bool same, same_namespace(proc, folder, kind));
    if (!same) return false;
  }
  DS01_TRY(const auto cgroup, v2_path(folder));
  return !has_container_name(cgroup);
}

}  // namespace ds01::identity
