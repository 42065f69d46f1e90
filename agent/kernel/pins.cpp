// SPDX-License-Identifier: Apache-2.0
#include "kernel/pins.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>

namespace ds01::kernel {

Status make_pin_folder(const std::filesystem::path& folder) {
  struct statfs place;
  if (::statfs(folder.parent_path().parent_path().c_str(), &place) != 0 || place.f_type != BPF_FS_MAGIC)
    return fail(ErrorCode::unavailable,
                fmt::format("{}: no BPF file system there: mount -t bpf bpf /sys/fs/bpf", folder.string()));
  for (const auto& level : {folder.parent_path(), folder})
    if (::mkdir(level.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(level.string());
  return {};
}

Fd open_pin(const std::filesystem::path& path) { return Fd(bpf_obj_get(path.c_str())); }

Status replace_pin(int fd, const std::filesystem::path& path) {
  // The BPF file system refuses names with a dot.
  const auto fresh = path.parent_path() / ("new_" + path.filename().string());
  ::unlink(fresh.c_str());
  if (bpf_obj_pin(fd, fresh.c_str()) != 0) return fail_errno(fmt::format("pinning {}", path.string()));
  if (::rename(fresh.c_str(), path.c_str()) == 0) return {};
  const int error = errno;
  ::unlink(fresh.c_str());
  return fail_errno(fmt::format("pinning {}", path.string()), error);
}

Status remove_pin_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<Fd> held;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) files.push_back(entry.path());
  for (const auto& file : files) {
    held.push_back(open_pin(file));
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fail_errno(file.string());
  }
  if (::rmdir(folder.c_str()) != 0 && errno != ENOENT) return fail_errno(folder.string());
  return {};
}

}  // namespace ds01::kernel
