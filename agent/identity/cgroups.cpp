// SPDX-License-Identifier: Apache-2.0
#include "identity/cgroups.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "core/files.h"
#include "core/paths.h"
#include "ds01/abi.h"

namespace ds01::identity {
namespace {

// FILEID_KERNFS (include/linux/exportfs.h): the handle is the 64-bit id of the kernfs node.
constexpr int kKernfsHandle = 0xfe;

bool is_hex64(std::string_view name) {
  return name.size() == 64 &&
         std::ranges::all_of(name, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_container_name(std::string_view name) {
  return (name.starts_with("docker-") && name.ends_with(".scope")) || name.starts_with("libpod-") ||
         name.starts_with("cri-containerd-") || name.starts_with("crio-") || name == "machine.slice" || is_hex64(name);
}

std::filesystem::path deepest_existing(const std::filesystem::path& root, std::string_view path) {
  std::filesystem::path folder = root;
  std::error_code ignored;
  for (const auto name : split(path, '/')) {
    if (!std::filesystem::is_directory(folder / name, ignored)) break;
    folder /= name;
  }
  return folder;
}

}  // namespace

Cgroups::Cgroups(std::filesystem::path root) : root_(std::move(root)) {}

Result<Cgroup> Cgroups::find(const std::string& path) const {
  if (!is_cgroup_path(path))
    return fail(ErrorCode::invalid,
                fmt::format("'{}' is not a cgroup path: write it as /name/name, as in /proc/PID/cgroup", path));
  const auto depth = split(path, '/').size();
  if (depth >= DS01_MAX_DEPTH)
    return fail(ErrorCode::invalid, fmt::format("cgroup {} lies deeper than {} levels", path, DS01_MAX_DEPTH - 1));
  struct stat status;
  // The inode number of a cgroup's folder is its id (kernfs_ino(), 64-bit kernels).
  static_assert(sizeof status.st_ino == 8);
  if (::stat((root_.string() + path).c_str(), &status) != 0) {
    if (errno == ENOENT) return fail(ErrorCode::not_found, fmt::format("no such cgroup: {}", path));
    return fail_errno(fmt::format("cgroup {}", path));
  }
  if (!S_ISDIR(status.st_mode)) return fail(ErrorCode::invalid, fmt::format("{} is not a cgroup", path));
  return Cgroup{status.st_ino, static_cast<unsigned>(depth)};
}

std::string Cgroups::path_of(std::uint64_t id) const {
  const Fd root(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + sizeof id> buffer{};
  auto* handle = new (buffer.data()) file_handle;
  handle->handle_bytes = sizeof id;
  handle->handle_type = kKernfsHandle;
  std::memcpy(buffer.data() + sizeof(file_handle), &id, sizeof id);
  const Fd folder(::open_by_handle_at(root.get(), handle, O_PATH | O_CLOEXEC));
  if (!folder) return "";
  char target[PATH_MAX];
  const ssize_t length = ::readlink(fmt::format("/proc/self/fd/{}", folder.get()).c_str(), target, sizeof target);
  const std::string_view path(target, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  if (!path.starts_with(root_.string())) return "";
  return path.size() == root_.string().size() ? "/" : std::string(path.substr(root_.string().size()));
}

Result<std::filesystem::path> find_cgroup_root(const std::filesystem::path& mounts) {
  DS01_TRY(const auto text, read_file(mounts, 1 << 20));
  for (const auto line : split(text, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() > 2 && fields[2] == "cgroup2" && fields[1].starts_with(paths::kCgroups)) return fields[1];
  }
  return fail(ErrorCode::unavailable,
              "no cgroup v2 hierarchy below /sys/fs/cgroup: boot with systemd.unified_cgroup_hierarchy=1");
}

bool is_cgroup_path(std::string_view path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') return false;
  if (path.find("//") != std::string_view::npos) return false;
  if (std::ranges::any_of(path, [](unsigned char c) { return std::iscntrl(c) != 0; })) return false;
  return std::ranges::none_of(split(path, '/'), [](std::string_view name) { return name == "." || name == ".."; });
}

bool has_container_name(std::string_view path) { return std::ranges::any_of(split(path, '/'), is_container_name); }

Result<CgroupWatch> CgroupWatch::make() {
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return fail_errno("inotify");
  return CgroupWatch(std::move(fd));
}

void CgroupWatch::drain() {
  std::array<char, 4096> buffer;
  while (::read(fd_.get(), buffer.data(), buffer.size()) > 0) {
  }
}

void CgroupWatch::watch(const std::filesystem::path& root, const std::set<std::string>& paths) {
  std::map<std::string, int> wanted;
  for (const auto& path : paths) {
    // The folder and its parent: the parent tells when the folder itself goes.
    const auto folder = deepest_existing(root, path);
    wanted.emplace(folder.string(), -1);
    if (folder != root) wanted.emplace(folder.parent_path().string(), -1);
  }
  for (const auto& [folder, descriptor] : watches_)
    if (!wanted.contains(folder)) ::inotify_rm_watch(fd_.get(), descriptor);
  for (auto& [folder, descriptor] : wanted)
    descriptor = ::inotify_add_watch(fd_.get(), folder.c_str(), IN_CREATE | IN_DELETE | IN_ONLYDIR);
  watches_ = std::move(wanted);
}

}  // namespace ds01::identity
