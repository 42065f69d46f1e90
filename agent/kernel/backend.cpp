// SPDX-License-Identifier: Apache-2.0
#include "kernel/backend.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/files.h"

namespace ds01::kernel {

std::string_view to_string(Backend backend) { return backend == Backend::bpf_lsm ? "bpf_lsm" : "cgroup_device"; }

Choice choose_backend(const std::filesystem::path& list) {
  const auto text = read_file(list, 4096);
  if (!text) return {Backend::bpf_lsm, ""};
  const auto line = text->substr(0, text->find('\n'));
  const auto names = split(line, ',');
  if (std::ranges::find(names, "bpf") != names.end()) return {Backend::bpf_lsm, ""};
  return {Backend::cgroup_device,
          fmt::format("the kernel's LSM list lacks 'bpf' (it is {0}); for the full gate add lsm={0},bpf to the kernel "
                      "command line and reboot",
                      line)};
}

}  // namespace ds01::kernel
