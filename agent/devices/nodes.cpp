// SPDX-License-Identifier: Apache-2.0
#include "devices/nodes.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "core/fd.h"
#include "core/text.h"
#include "ds01/abi.h"

namespace ds01::devices {
namespace {

// Without opening the device: no driver is called.
Result<Fd> find_below(const std::filesystem::path& root, const std::string& path) {
  const Fd folder(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail_errno(root.string());
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;  // an absolute link in a container leads into that container
  Fd node(static_cast<int>(::syscall(SYS_openat2, folder.get(), path.c_str(), &how, sizeof how)));
  if (!node && (errno == ENOENT || errno == ENOTDIR))
    return fail(ErrorCode::not_found, fmt::format("there is no {}", escaped(path)));
  if (!node) return fail_errno(escaped(path));
  return node;
}

bool has_acl(const Fd& node) {
  return ::getxattr(fmt::format("/proc/self/fd/{}", node.get()).c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

bool is_terminal(const std::filesystem::path& path) {
  const auto name = path.filename().string();
  return name.starts_with("tty") || name.starts_with("vcs") || name == "pts";
}

std::string bits(mode_t mode) {
  std::string text = "c";
  for (int shift = 6; shift >= 0; shift -= 3) {
    text += (mode >> shift & 4U) != 0 ? 'r' : '-';
    text += (mode >> shift & 2U) != 0 ? 'w' : '-';
    text += (mode >> shift & 1U) != 0 ? 'x' : '-';
  }
  return text;
}

}  // namespace

Result<Node> look_up(const std::filesystem::path& root, const std::string& path) {
  if (!path.starts_with('/') || path.find('\0') != std::string::npos)
    return fail(ErrorCode::invalid, fmt::format("{} is not a path: write it as /dev/nvidia0", in_quotes(path)));
  DS01_TRY(const Fd node, find_below(root, path));
  struct stat status;
  if (::fstat(node.get(), &status) != 0) return fail_errno(escaped(path));
  if (!S_ISCHR(status.st_mode))
    return fail(ErrorCode::not_found, fmt::format("{} is not a character device", escaped(path)));
  return Node{path,           DS01_DEV(major(status.st_rdev), minor(status.st_rdev)),
              status.st_mode, status.st_uid,
              status.st_gid,  has_acl(node)};
}

std::vector<Node> list_nodes(const std::filesystem::path& root) {
  std::vector<Node> nodes;
  std::error_code error;
  const auto folder = root / "dev";
  for (std::filesystem::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (is_terminal(entry->path())) entry.disable_recursion_pending();
    if (is_terminal(entry->path()) || !entry->is_character_file(ignored)) continue;
    auto node = look_up(root, "/dev/" + entry->path().lexically_relative(folder).string());
    if (node) nodes.push_back(*std::move(node));
  }
  std::ranges::sort(nodes, {}, &Node::path);
  return nodes;
}

FileRights file_rights(const Node& node, const Credentials& who) {
  if (who.overrides_modes) return {true, "file modes do not bind root"};
  const bool owns = node.owner == who.uid;
  const bool in_group = !owns && who.groups.contains(node.group);
  const char* kind = owns ? "the owner" : in_group ? "the group" : "others";
  const int shift = owns ? 6 : in_group ? 3 : 0;
  const bool allowed = (node.mode >> shift & 6U) == 6U;
  return {allowed, fmt::format("{} (owner {}, group {}): {} may{} read and write", bits(node.mode), node.owner,
                               node.group, kind, allowed ? "" : " not")};
}

}  // namespace ds01::devices
