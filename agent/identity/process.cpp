// SPDX-License-Identifier: Apache-2.0
#include "identity/process.h"

#include <unistd.h>
#include <climits>

#include <algorithm>

#include <linux/capability.h>

#include <charconv>

#include <fmt/format.h>

#include <fmt/ranges.h>

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

// What stands behind "Key:" in /proc/PID/status, in columns.
std::vector<std::string_view> columns(std::string_view status, std::string_view key) {
  for (const auto line : split(status, '\n'))
    if (line.starts_with(key)) {
      std::vector<std::string_view> fields;
      for (const auto part : split(line.substr(key.size()), '\t'))
        for (const auto field : split(part, ' ')) fields.push_back(field);
      return fields;
    }
  return {};
}

std::uint64_t mask_of(const std::vector<std::string_view>& fields) {
  std::uint64_t mask = 0;
  if (!fields.empty()) std::from_chars(fields[0].data(), fields[0].data() + fields[0].size(), mask, 16);
  return mask;
}

}  // namespace

Result<Rights> read_rights(const std::filesystem::path& proc, pid_t pid) {
  const auto status = read_file(proc / std::to_string(pid) / "status", 65536);
  if (!status) return fail(ErrorCode::not_found, fmt::format("there is no process {}", pid));
  const auto uids = columns(*status, "Uid:");  // real, effective, saved, for files
  const auto gids = columns(*status, "Gid:");
  if (uids.size() != 4 || gids.size() != 4) return fail(ErrorCode::system, "malformed /proc/PID/status");
  Rights rights{};
  DS01_TRY(const auto uid, parse_number(uids[0]));
  DS01_TRY(const auto file_uid, parse_number(uids[3]));
  rights.uid = static_cast<uid_t>(uid);
  rights.file_uid = static_cast<uid_t>(file_uid);
  auto groups = columns(*status, "Groups:");
  groups.push_back(gids[3]);
  for (const auto group : groups) {
    DS01_TRY(const auto gid, parse_number(group));
    rights.groups.insert(static_cast<gid_t>(gid));
  }
  rights.overrides_modes = rights.file_uid == 0 && (mask_of(columns(*status, "CapEff:")) >> CAP_DAC_OVERRIDE & 1U) != 0;
  rights.comm = fmt::format("{}", fmt::join(columns(*status, "Name:"), " "));
  return rights;
}

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
