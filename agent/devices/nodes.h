// SPDX-License-Identifier: Apache-2.0
// Device nodes in the file tree of a process. ds01d has a /dev of its own (PrivateDevices=), so it looks at others'
// through /proc/PID/root; process 1 has the host's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace ds01::devices {

struct Node {
  std::string path;      // in that tree: "/dev/nvidia0"
  std::uint32_t device;  // as in ds01/abi.h
  mode_t mode;
  uid_t owner;
  gid_t group;
  bool has_acl;
};

// The character device at `path` below `root` (/proc/PID/root), links resolved as that process would. not_found: there
// is none, or something else; invalid: not an absolute path.
Result<Node> look_up(const std::filesystem::path& root, const std::string& path);

// All character devices below `root`/dev, by path; terminals are left out.
std::vector<Node> list_nodes(const std::filesystem::path& root);

// Whose rights a file is opened with.
struct Credentials {
  uid_t uid;
  std::set<gid_t> groups;
  bool overrides_modes;  // CAP_DAC_OVERRIDE
};

struct FileRights {
  bool allowed;     // to read and write
  std::string why;  // "crw-rw---- root:video gives the owner …": mode and the class of bits that counts
};
// What the mode bits say. An ACL may say otherwise.
FileRights file_rights(const Node& node, const Credentials& who);

}  // namespace ds01::devices
