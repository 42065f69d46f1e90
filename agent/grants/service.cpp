// SPDX-License-Identifier: Apache-2.0
#include "grants/service.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/files.h"

namespace ds01::grants {
namespace {

constexpr std::size_t kEndedKept = 10'000;
constexpr std::size_t kReasonLimit = 500;
constexpr std::uint32_t kGpuLimit = 254;  // minors 0-253 are GPUs

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

ds01_subject kernel_subject(const Subject& subject) {
  if (subject.kind == Subject::Kind::user) return {subject.uid, DS01_SUBJECT_UID, 0};
  return {subject.cgroup_id, DS01_SUBJECT_CGROUP, 0};
}

std::pair<std::uint32_t, std::uint64_t> subject_key(const Subject& subject) {
  const auto key = kernel_subject(subject);
  return {key.kind, key.id};
}

KernelGrant kernel_grant(const Grant& grant) {
  KernelGrant out{kernel_subject(grant.subject), {}, grant.subject.cgroup_depth};
  out.value.ends = grant.ends ? static_cast<std::uint64_t>(grant.ends->time_since_epoch().count()) : DS01_NEVER;
  out.value.number = grant.number;
  if (!grant.gpus) std::ranges::fill(out.value.gpus, ~__u64{0});
  for (const auto& gpu : grant.gpus.value_or(std::vector<devices::Gpu>{}))
    out.value.gpus[gpu.index / 64] |= __u64{1} << (gpu.index % 64);
  return out;
}

bool is_grant_id(const std::string& text) { return text.starts_with("g-"); }

Result<devices::Gpu> pick_gpu(std::string_view text, const std::vector<devices::Gpu>& known) {
  const auto number = parse_number(text);
  const auto found = std::ranges::find_if(
      known, [&](const devices::Gpu& gpu) { return number ? gpu.index == *number : gpu.uuid == text; });
  if (found != known.end() && found->index < kGpuLimit) return *found;
  // Without the driver's list an index is taken at its word: the machine may be granted before the driver loads.
  if (number && known.empty() && *number < kGpuLimit) return devices::Gpu{static_cast<std::uint32_t>(*number), ""};
  if (!number && !text.starts_with("GPU-"))
    return fail(ErrorCode::invalid, fmt::format("'{}' is not a GPU: give 'all', indices (0,2) or UUIDs (GPU-…)", text));
  return fail(ErrorCode::invalid, fmt::format("this host has no GPU {}: see nvidia-smi -L", text));
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::active: return "active";
    case State::expired: return "expired";
    case State::revoked: return "revoked";
    case State::suspended: return "suspended";
  }
  std::unreachable();
}

std::string Subject::display() const {
  if (kind == Kind::cgroup) return "cgroup:" + path;
  return name.empty() ? fmt::format("uid:{}", uid) : name;
}

std::string Grant::scope() const {
  if (!gpus) return "all GPUs";
  std::vector<std::uint32_t> indices;
  for (const auto& gpu : *gpus) indices.push_back(gpu.index);
  return fmt::format("GPU {}", fmt::join(indices, ", "));
}

Service::Service(Deps deps, config::Grants settings) : deps_(std::move(deps)), settings_(std::move(settings)) {}

Result<Subject> Service::resolve_cgroup(const std::string& path) const {
  DS01_TRY(const auto cgroup, deps_.cgroups.find(path));
  Subject subject;
  subject.kind = Subject::Kind::cgroup;
  subject.path = path;
  subject.cgroup_id = cgroup.id;
  subject.cgroup_depth = cgroup.depth;
  return subject;
}

Result<Subject> Service::resolve_user(const std::string& text) const {
  Subject subject;
  DS01_TRY(subject.uid, identity::find_uid(deps_.users, text));
  subject.name = text.starts_with("uid:") ? deps_.users.name_of(subject.uid).value_or("") : text;
  if (subject.uid == 0)
    return fail(ErrorCode::invalid, "root needs no grant on the host, and in a container no uid counts");
  return subject;
}

Result<Subject> Service::resolve_subject(const std::string& text) const {
  if (text.empty()) return fail(ErrorCode::invalid, "a subject is missing: a user name, uid:N or cgroup:/path");
  if (text.starts_with("cgroup:")) return resolve_cgroup(text.substr(7));
  return resolve_user(text);
}

Result<std::optional<std::vector<devices::Gpu>>> Service::resolve_gpus(const std::string& list) const {
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

// The smallest maximum among the user's groups; the general one where no group of theirs has one.
Result<std::chrono::seconds> Service::maximum_for(const Subject& subject) const {
  std::optional<std::chrono::seconds> own;
  if (subject.kind != Subject::Kind::user) return settings_.maximum;
  for (const auto& [group, maximum] : settings_.maximum_by_group) {
    const auto members = deps_.users.members_of(group);
    if (!members && members.error().code != ErrorCode::not_found) return std::unexpected(members.error());
    if (members && members->contains(subject.uid)) own = std::min(own.value_or(maximum), maximum);
  }
  return own.value_or(settings_.maximum);
}

Result<Service::End> Service::resolve_end(const GrantRequest& request, const Subject& subject) const {
  DS01_TRY(const auto maximum, maximum_for(subject));
  const auto now_wall = deps_.clock.wall();
  const auto now_boot = deps_.clock.boot();
  const auto lasting = [&](std::chrono::nanoseconds length) -> Result<End> {
    if (length <= std::chrono::nanoseconds(0))
      return fail(ErrorCode::invalid, "the end lies in the past: give one that is to come");
    if (length > maximum)
      return fail(ErrorCode::invalid, fmt::format("longer than the maximum of {} (grants.maximum in agent.yaml)",
                                                  format_duration(maximum)));
    return End{now_boot + length, now_wall + length};
  };
  return std::visit(
      Overload{
          [&](std::monostate) { return lasting(std::min(settings_.default_duration, maximum)); },
          [&](std::chrono::seconds duration) { return lasting(std::min(duration, maximum + std::chrono::seconds(1))); },
          [&](WallTime until) { return lasting(until - now_wall); },
          [&](Permanent) -> Result<End> { return End{std::nullopt, {}}; },
      },
      request.end);
}

Status Service::check_reason(const std::string& reason) const {
  if (settings_.require_reason && reason.empty())
    return fail(ErrorCode::invalid, "a reason is required here: add --reason TEXT");
  if (reason.size() > kReasonLimit)
    return fail(ErrorCode::invalid, fmt::format("the reason is longer than {} bytes", kReasonLimit));
  if (std::ranges::any_of(reason, [](unsigned char c) { return std::iscntrl(c) != 0; }))
    return fail(ErrorCode::invalid, "the reason contains control characters");
  return {};
}

Status Service::check_not_shorter(const Grant& grant) const {
  const auto* old = active_for(grant.subject);
  if (old == nullptr || !grant.ends) return {};
  if (old->ends && *old->ends <= *grant.ends) return {};
  return fail(
      ErrorCode::conflict,
      fmt::format("{} already has {} until {}, which is longer; to shorten it, revoke it first",
                  grant.subject.display(), old->id(), old->ends ? format_utc(old->ends_wall) : "revoked (permanent)"));
}

Result<Grant> Service::build(const GrantRequest& request, const Actor& actor) const {
  Grant grant;
  DS01_TRY(grant.subject, resolve_subject(request.subject));
  DS01_TRY(grant.gpus, resolve_gpus(request.gpus));
  DS01_TRY(const auto end, resolve_end(request, grant.subject));
  DS01_CHECK(check_reason(request.reason));
  grant.ends = end.boot;
  grant.ends_wall = end.wall;
  grant.created = deps_.clock.wall();
  grant.on_expiry = request.on_expiry.value_or(settings_.on_expiry);
  grant.granted_by = actor;
  grant.reason = request.reason;
  DS01_CHECK(check_not_shorter(grant));
  const auto* old = active_for(grant.subject);
  grant.number = old != nullptr ? old->number : last_number_ + 1;
  if (old != nullptr) grant.created = old->created;
  return grant;
}

Result<Grant> Service::grant(const GrantRequest& request, const Actor& actor) {
  DS01_TRY(const auto grant, build(request, actor));
  if (request.dry_run) return grant;
  const KernelGrant entry = kernel_grant(grant);
  DS01_CHECK(deps_.kernel.put(std::span(&entry, 1)));
  last_number_ = std::max(last_number_, grant.number);
  remember(grant);
  return grant;
}

void Service::remember(Grant grant) {
  if (const auto old = active_.find(grant.number); old != active_.end() && old->second.ends)
    by_end_.erase({*old->second.ends, grant.number});
  if (grant.ends) by_end_.insert({*grant.ends, grant.number});
  by_subject_[subject_key(grant.subject)] = grant.number;
  active_.insert_or_assign(grant.number, std::move(grant));
}

const Grant* Service::active_for(const Subject& subject) const {
  const auto found = by_subject_.find(subject_key(subject));
  return found == by_subject_.end() ? nullptr : &active_.at(found->second);
}

const Grant* Service::active_for_uid(uid_t uid) const {
  Subject subject;
  subject.uid = uid;
  return active_for(subject);
}

// A cgroup subject is found by its path, also when the cgroup itself is gone. If there is a new one by now, that is
// meant.
const Grant* Service::find_active(const std::string& text) const {
  if (is_grant_id(text)) {
    const auto number = parse_number(std::string_view(text).substr(2));
    const auto found = number ? active_.find(*number) : active_.end();
    return found == active_.end() ? nullptr : &found->second;
  }
  if (text.starts_with("cgroup:")) {
    const auto living = resolve_cgroup(text.substr(7));
    if (const auto* grant = living ? active_for(*living) : nullptr) return grant;
    const auto found =
        std::ranges::find_if(active_, [&](const auto& entry) { return entry.second.subject.display() == text; });
    return found == active_.end() ? nullptr : &found->second;
  }
  const auto subject = resolve_user(text);
  return subject ? active_for(*subject) : nullptr;
}

Result<Grant> Service::find(const std::string& text) const {
  if (const auto* grant = find_active(text)) return *grant;
  const auto ended = std::ranges::find_if(ended_, [&](const Grant& grant) { return grant.id() == text; });
  if (ended != ended_.end()) return *ended;
  if (is_grant_id(text)) return fail(ErrorCode::not_found, fmt::format("no grant {}: see ds01ctl list --all", text));
  if (!text.starts_with("cgroup:")) DS01_CHECK(resolve_user(text));
  return fail(ErrorCode::not_found, fmt::format("{} has no active grant: see ds01ctl list", text));
}

Grant Service::end(std::uint64_t number, State state) {
  auto node = active_.extract(number);
  Grant grant = std::move(node.mapped());
  by_subject_.erase(subject_key(grant.subject));
  if (grant.ends) by_end_.erase({*grant.ends, number});
  grant.state = state;
  const auto now = deps_.clock.wall();
  grant.ends_wall = state == State::expired ? std::min(grant.ends_wall, now) : now;
  ended_.push_back(grant);
  if (ended_.size() > kEndedKept) ended_.pop_front();
  return grant;
}

Result<Grant> Service::revoke(const std::string& subject_or_id) {
  DS01_TRY(const auto grant, find(subject_or_id));
  if (grant.state != State::active)
    return fail(ErrorCode::conflict, fmt::format("{} is already {}", grant.id(), to_string(grant.state)));
  const auto subject = kernel_subject(grant.subject);
  DS01_CHECK(deps_.kernel.erase(std::span(&subject, 1)));
  return end(grant.number, State::revoked);
}

Page Service::list(bool all, std::optional<uid_t> uid, std::size_t limit, std::uint64_t cursor) const {
  std::vector<const Grant*> found;
  const auto take = [&](const Grant& grant) {
    const bool own = !uid || (grant.subject.kind == Subject::Kind::user && grant.subject.uid == *uid);
    if (grant.number > cursor && own) found.push_back(&grant);
  };
  if (all) std::ranges::for_each(ended_, take);
  for (auto entry = active_.upper_bound(cursor); entry != active_.end() && found.size() <= limit + ended_.size();
       ++entry)
    take(entry->second);
  std::ranges::sort(found, {}, &Grant::number);

  Page page;
  if (found.size() > limit) {
    found.resize(limit);
    page.next = found.back()->number;
  }
  for (const auto* grant : found) page.grants.push_back(*grant);
  return page;
}

std::optional<BootTime> Service::next_end() const {
  if (by_end_.empty()) return std::nullopt;
  return by_end_.begin()->first;
}

std::vector<Grant> Service::expire(std::size_t limit) {
  std::vector<ds01_subject> subjects;
  std::vector<std::uint64_t> numbers;
  const auto now = deps_.clock.boot();
  for (const auto& [ends, number] : by_end_) {
    if (ends > now || numbers.size() == limit) break;
    numbers.push_back(number);
    subjects.push_back(kernel_subject(active_.at(number).subject));
  }
  // The kernel denies these since their deadline; a failure to remove them costs map space, never access.
  if (!deps_.kernel.erase(subjects)) return {};
  std::vector<Grant> expired;
  for (const auto number : numbers) expired.push_back(end(number, State::expired));
  return expired;
}

}  // namespace ds01::grants
