// SPDX-License-Identifier: Apache-2.0
// Cgroups v2 by id. The kernel matches ids, never names: a user's own manager may make a second "ds01.slice".
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace ds01::identity {

struct Cgroup {
  std::uint64_t id;
  unsigned depth;  // below the root

  bool operator==(const Cgroup&) const = default;
};

class Cgroups {
 public:
  // `root` is the v2 hierarchy: /sys/fs/cgroup, or /sys/fs/cgroup/unified on hybrid hosts.
  explicit Cgroups(std::filesystem::path root);

  // `path` as in the configuration: "/ds01.slice". not_found if it does not exist (now); invalid if malformed or deeper
  // than the kernel side looks.
  Result<Cgroup> find(const std::string& path) const;

  // The path of a cgroup id below the root; "" when it is gone.
  std::string path_of(std::uint64_t id) const;

  const std::filesystem::path& root() const { return root_; }

 private:
  std::filesystem::path root_;
};

// Where the v2 hierarchy is mounted, or an error that says how to get one.
Result<std::filesystem::path> find_cgroup_root(const std::filesystem::path& mounts);

// "/a/b": absolute, normalised, not the root, no control characters.
bool is_cgroup_path(std::string_view path);

// The container runtimes' names: docker-….scope, libpod-…, cri-containerd-…, crio-…, 64 hex digits, machine.slice. The
// same list as bpf/principal.h has; used where user space looks at a peer.
bool has_container_name(std::string_view path);

// Watches the named cgroups, so that one which appears, vanishes or comes back is noticed: watches each one's deepest
// existing ancestor (cgroupfs sends inotify events for mkdir and rmdir).
class CgroupWatch {
 public:
  static Result<CgroupWatch> make();
  // Readable after a change. Call drain(), look the cgroups up again, and watch() again.
  int fd() const { return fd_.get(); }
  void drain();
  void watch(const std::filesystem::path& root, const std::set<std::string>& paths);

 private:
  explicit CgroupWatch(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
  std::map<std::string, int> watches_;
};

}  // namespace ds01::identity
