// SPDX-License-Identifier: Apache-2.0
#include "grants/resolve.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "core/files.h"
#include "core/text.h"
#include "ds01/abi.h"

namespace ds01::grants {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::size_t kReasonLimit = 500;
constexpr std::uint32_t kGpuLimit = 254;  // minors 0-253 are GPUs

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

Result<devices::Gpu> pick_gpu(std::string_view text, const std::vector<devices::Gpu>& known) {
  const auto number = parse_number(text);
  const auto found = std::ranges::find_if(
      known, [&](const devices::Gpu& gpu) { return number ? gpu.index == *number : gpu.uuid == text; });
  if (found != known.end() && found->index < kGpuLimit) return *found;
  // Without the driver's list an index is taken at its word: the machine may be granted before the driver loads.
  if (number && known.empty() && *number < kGpuLimit) return devices::Gpu{static_cast<std::uint32_t>(*number), ""};
  if (!number && !text.starts_with("GPU-"))
    return fail(ErrorCode::invalid,
                fmt::format("{} is not a GPU: give 'all', indices (0,2) or UUIDs (GPU-…)", in_quotes(text)));
  return fail(ErrorCode::invalid, fmt::format("this host has no GPU {}: see nvidia-smi -L", escaped(text)));
}

Result<std::uint32_t> pick_cap(std::string_view text, const devices::CapNames& known) {
  if (const auto cap = devices::parse_cap(text)) return *cap;
  if (text.find('/') == text.npos)
    return fail(ErrorCode::invalid, fmt::format("{} is not a capability node: give nvidia-capN, imex-channelN or the "
                                                "driver's name of one (mig/gpu0/gi1/access)",
                                                in_quotes(text)));
  const auto found = known.find(text);
  if (found == known.end())
    return fail(ErrorCode::invalid, fmt::format("the driver has no capability {}: what mig/… may be stands in "
                                                "mig-minors in the folder /proc/driver/nvidia-caps, and so on",
                                                in_quotes(text)));
  return DS01_DEV(DS01_CAPS_NVIDIA, found->second);
}

}  // namespace

Status check_reason(const std::string& reason) {
  if (reason.size() > kReasonLimit)
    return fail(ErrorCode::invalid, fmt::format("the reason is longer than {} bytes", kReasonLimit));
  if (printable(reason) != reason)
    return fail(ErrorCode::invalid,
                "the reason contains control characters, direction marks or bytes that are not UTF-8");
  return {};
}

Result<Subject> Resolver::cgroup(const std::string& path) const {
  DS01_TRY(const auto cgroup, deps_.cgroups.find(path));
  Subject subject;
  subject.kind = Subject::Kind::cgroup;
  subject.path = path;
  subject.cgroup_id = cgroup.id;
  subject.cgroup_depth = cgroup.depth;
  return subject;
}

Result<Subject> Resolver::user(const std::string& text) const {
  Subject subject;
  DS01_TRY(subject.uid, identity::find_uid(deps_.users, text));
  if (subject.uid == 0)
    return fail(ErrorCode::invalid, "root needs no grant on the host, and in a container no uid counts");
  // By the uid also where a name was given: the account may have several, and it is looked up by uid later on.
  auto name = deps_.users.name_of(subject.uid);
  if (!name && name.error().code != ErrorCode::not_found) return std::unexpected(std::move(name).error());
  subject.name = std::move(name).value_or(text.starts_with("uid:") ? "" : text);
  return subject;
}

Result<Subject> Resolver::subject(const std::string& text) const {
  if (text.empty()) return fail(ErrorCode::invalid, "a subject is missing: a user name, uid:N or cgroup:/path");
  if (text.starts_with("cgroup:")) return cgroup(text.substr(7));
  return user(text);
}

Result<std::optional<std::vector<devices::Gpu>>> Resolver::gpus(const std::string& list) const {
  if (list == "all") return std::nullopt;
  const auto known = deps_.list_gpus();
  std::vector<devices::Gpu> gpus;
  for (const auto text : split(list, ',')) {
    DS01_TRY(auto gpu, pick_gpu(text, known));
    if (std::ranges::find(gpus, gpu.index, &devices::Gpu::index) == gpus.end()) gpus.push_back(std::move(gpu));
  }
  if (gpus.empty()) return fail(ErrorCode::invalid, "no GPU given: give 'all', indices (0,2) or UUIDs (GPU-…)");
  std::ranges::sort(gpus, {}, &devices::Gpu::index);
  return gpus;
}

Result<std::vector<std::string>> Resolver::caps(const std::string& list) const {
  std::vector<std::string> names;
  if (list == "none") return names;
  const auto known = deps_.list_caps();
  std::set<std::uint32_t> caps;
  for (const auto text : split(list, ',')) {
    DS01_TRY(const auto cap, pick_cap(text, known));
    caps.insert(cap);
  }
  if (caps.empty()) return fail(ErrorCode::invalid, "no capability node given: give 'none' or names (nvidia-cap30)");
  if (caps.size() > DS01_GRANT_CAPS)
    return fail(ErrorCode::invalid,
                fmt::format("{} capability nodes, and a grant takes {}", caps.size(), DS01_GRANT_CAPS));
  for (const auto cap : caps) names.push_back(devices::cap_name(cap));
  return names;
}

// The smallest maximum among the user's groups; the general one where no group of theirs has one.
Result<Resolver::Maximum> Resolver::maximum_for(const Subject& subject) const {
  std::optional<Maximum> own;
  const Maximum general{settings_.maximum, "grants.maximum"};
  if (subject.kind != Subject::Kind::user) return general;
  for (const auto& [group, maximum] : settings_.maximum_by_group) {
    const auto member = deps_.users.is_member(subject.uid, group);
    if (!member && member.error().code != ErrorCode::not_found) return std::unexpected(member.error());
    if (member && *member && (!own || maximum < own->length)) own = {maximum, "grants.maximum_by_group." + group};
  }
  return own.value_or(general);
}

Status Resolver::check_length(nanoseconds length, const Subject& subject) const {
  DS01_TRY(const auto maximum, maximum_for(subject));
  if (length <= nanoseconds(0)) return fail(ErrorCode::invalid, "the end lies in the past: give one that is to come");
  if (length > maximum.length)
    return fail(ErrorCode::invalid, fmt::format("longer than the maximum of {} ({} in agent.yaml)",
                                                format_duration(maximum.length), maximum.key));
  return {};
}

Result<Resolver::Span> Resolver::end(const AskedEnd& asked, const Subject& subject) const {
  const auto lasting = [&](seconds duration) -> Result<Span> {
    const auto length = std::clamp(duration, seconds(-1), kBeyondAnyMaximum);
    DS01_CHECK(check_length(length, subject));
    return Span{deps_.clock.boot() + length, length};
  };
  return std::visit(Overload{
                        [&](std::monostate) -> Result<Span> {
                          DS01_TRY(const auto maximum, maximum_for(subject));
                          return lasting(std::min(settings_.default_duration, maximum.length));
                        },
                        [&](seconds duration) { return lasting(duration); },
                        [&](WallTime until) -> Result<Span> {
                          const auto length = until - deps_.clock.wall();
                          DS01_CHECK(check_length(length, subject));
                          return Span{until, std::chrono::ceil<seconds>(length)};
                        },
                        [&](Permanent) -> Result<Span> { return Span{Never{}, seconds(0)}; },
                    },
                    asked);
}

}  // namespace ds01::grants
