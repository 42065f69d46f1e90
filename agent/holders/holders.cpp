// SPDX-License-Identifier: Apache-2.0
#include "holders/holders.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include "devices/devices.h"
#include "holders/mappings.h"

namespace ds01::holders {
namespace {

Status add_mapped(std::vector<ds01_holder>& records, const Source& source, const std::filesystem::path& proc) {
  DS01_TRY(const auto mappings, read_mappings(proc));
  for (const auto& mapping : mappings) {
    DS01_TRY(const auto answer, source.ask(mapping.pid, mapping.device));
    if (answer && answer->reason != DS01_UNGATED) records.push_back(*answer);
  }
  return {};
}

Holder holder_of(const ds01_holder& record) {
  Holder holder;
  holder.pid = static_cast<pid_t>(record.tgid);
  holder.uid = record.uid;
  holder.comm.assign(record.comm, ::strnlen(record.comm, sizeof record.comm));
  holder.started = record.task_start;
  holder.cgroup = record.cgroup;
  return holder;
}

void add_device(Holder& holder, const ds01_holder& record) {
  const auto at = std::ranges::lower_bound(holder.devices, record.device, {}, &Held::device);
  if (at != holder.devices.end() && at->device == record.device) return;
  holder.devices.insert(at, {record.device, devices::device_name(record.device_class, record.index),
                             record.allowed != 0, record.reason, record.grant});
}

}  // namespace

const Held& Holder::decisive() const {
  const auto denied = std::ranges::find(devices, false, &Held::allowed);
  return denied != devices.end() ? *denied : devices.front();
}

std::vector<std::string> Holder::names() const {
  std::vector<std::string> names;
  for (const auto& held : devices)
    if (std::ranges::find(names, held.name) == names.end()) names.push_back(held.name);
  return names;
}

std::uint64_t Holder::covering_grant() const {
  const auto covered = std::ranges::find_if(devices, [](const Held& held) { return held.allowed && held.grant != 0; });
  return covered != devices.end() ? covered->grant : 0;
}

std::vector<Holder> only_denied(std::vector<Holder> holders) {
  std::erase_if(holders, [](const Holder& holder) { return holder.allowed(); });
  return holders;
}

Result<std::vector<Holder>> list(const Source& source, const std::filesystem::path& proc, const Wanted& wanted) {
  DS01_TRY(auto records, source.holders());
  if (!source.sees_mappings()) DS01_CHECK(add_mapped(records, source, proc));
  std::map<std::uint32_t, Holder> found;
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>> open;  // threads show what they share again
  for (const auto& record : records) {
    if (!wanted(record)) continue;
    auto& holder = found.try_emplace(record.tgid, holder_of(record)).first->second;
    add_device(holder, record);
    if (record.fd == DS01_NO_FD)
      ++holder.maps;
    else if (open.emplace(record.tgid, record.fd, record.device).second)
      ++holder.fds;
  }
  std::vector<Holder> all;
  for (auto& [pid, holder] : found) all.push_back(std::move(holder));
  return all;
}

}  // namespace ds01::holders
