// SPDX-License-Identifier: Apache-2.0
#include "kernel/guarded.h"

#include <bpf/bpf.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace ds01::kernel {
namespace {

policy::Rule guard(std::uint32_t kind, std::uint64_t id, std::uint32_t sub = 0) {
  policy::Rule rule{{id, kind, sub}, {}};
  rule.value.device_class = DS01_CLASS_GATE;
  rule.value.mode = DS01_MODE_FULL;
  rule.value.mode_until = DS01_NEVER;
  return rule;
}

template <class Info>
Info info_of(const Fd& fd) {
  Info info = {};
  std::uint32_t size = sizeof info;
  bpf_obj_get_info_by_fd(fd.get(), &info, &size);
  return info;
}

void add_programs(const Programs& programs, std::vector<policy::Rule>& rules) {
  for (const auto& program : programs.all()) {
    rules.push_back(guard(DS01_RULE_PROGRAM, info_of<bpf_prog_info>(program.program).id));
    if (program.link) rules.push_back(guard(DS01_RULE_LINK, info_of<bpf_link_info>(program.link).id));
  }
}

void add_maps(const Maps& maps, std::vector<policy::Rule>& rules) {
  for (const Fd* map : {&maps.policy, &maps.grants, &maps.state, &maps.reported, &maps.host_cgroups, &maps.counts,
                        &maps.losses, &maps.buckets, &maps.question, &maps.events})
    rules.push_back(guard_of_map(*map));
}

// The folders' entries, and the file system they are on.
void add_pins(const Programs& programs, std::vector<policy::Rule>& rules) {
  for (const auto& folder : programs.pin_folders()) {
    struct stat status;
    if (::stat(folder.c_str(), &status) != 0) continue;
    const auto device = DS01_DEV(major(status.st_dev), minor(status.st_dev));
    rules.push_back(guard(DS01_RULE_PINS, status.st_ino, device));
    if (folder == programs.pin_folders().front()) rules.push_back(guard(DS01_RULE_PINS, 0, device));
  }
}

}  // namespace

policy::Rule guard_of_map(const Fd& map) { return guard(DS01_RULE_MAP, info_of<bpf_map_info>(map).id); }

std::vector<policy::Rule> guards_of(const Programs& programs, const ds01_holder& agent) {
  std::vector<policy::Rule> rules;
  add_programs(programs, rules);
  add_maps(programs.maps(), rules);
  add_pins(programs, rules);
  rules.push_back(guard(DS01_RULE_PROCESS, agent.task_start, agent.tgid));
  return rules;
}

}  // namespace ds01::kernel
