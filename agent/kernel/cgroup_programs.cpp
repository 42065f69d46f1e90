// SPDX-License-Identifier: Apache-2.0
#include "kernel/cgroup_programs.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <fmt/format.h>

#include "core/fd.h"

namespace ds01::kernel {

Result<std::vector<std::string>> cgroups_with_device_programs(const std::filesystem::path& root, std::string cgroup) {
  std::vector<std::string> found;
  for (; cgroup.size() > 1 && cgroup.front() == '/'; cgroup.resize(cgroup.rfind('/'))) {
    const Fd folder(::open((root.string() + cgroup).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) continue;  // a user's slice is there only while they are logged in
    std::uint32_t count = 0;
    if (bpf_prog_query(folder.get(), BPF_CGROUP_DEVICE, 0, nullptr, nullptr, &count) != 0)
      return fail_errno(fmt::format("asking for the device programs of cgroup {}", cgroup));
    if (count != 0) found.push_back(cgroup);
  }
  return found;
}

}  // namespace ds01::kernel
