// SPDX-License-Identifier: Apache-2.0
#include "control/json.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "audit/trail.h"
#include "devices/devices.h"

namespace ds01::control {
namespace {

namespace json = boost::json;
using json::object;

object subject_json(const grants::Subject& subject) {
  if (subject.kind == grants::Subject::Kind::cgroup) return {{"kind", "cgroup"}, {"path", subject.path}};
  return {{"kind", "user"}, {"name", subject.display()}, {"uid", subject.uid}};
}

json::value gpus_json(const grants::Grant& grant) {
  if (!grant.gpus) return "all";
  json::array gpus;
  for (const auto& gpu : *grant.gpus)
    gpus.push_back(object{{"index", gpu.index}, {"uuid", gpu.uuid.empty() ? json::value() : json::value(gpu.uuid)}});
  return gpus;
}

object actor_json(const grants::Actor& actor) {
  object out{{"uid", actor.uid}, {"name", actor.name}, {"login_uid", nullptr}};
  if (actor.login_uid) out["login_uid"] = *actor.login_uid;
  return out;
}

json::value actor_json(const std::optional<grants::Actor>& actor) {
  if (!actor) return nullptr;
  return actor_json(*actor);
}

json::value time_json(const std::optional<WallTime>& time) {
  if (!time) return nullptr;
  return json::string(format_utc(*time));
}

json::value moment_json(std::uint64_t boot_ns, const Clock& clock) {
  if (boot_ns == 0) return nullptr;
  return json::string(format_utc(clock.to_wall(BootTime(std::chrono::nanoseconds(boot_ns)))));
}

}  // namespace

object to_json(const grants::Grant& grant, const Clock& clock) {
  object out{{"id", grant.id()},
             {"subject", subject_json(grant.subject)},
             {"gpus", gpus_json(grant)},
             {"caps", json::array(grant.caps.begin(), grant.caps.end())},
             {"created_at", format_utc(grant.created)},
             {"expires_at", nullptr},
             {"remaining_s", nullptr},
             {"on_expiry", config::to_string(grant.on_expiry)},
             {"granted_by", actor_json(grant.granted_by)},
             {"reason", grant.reason},
             {"state", grants::to_string(grant.state)}};
  if (!grant.is_living()) {
    out["expires_at"] = time_json(grant.ended);
    out["remaining_s"] = 0;
  } else if (const auto left = time_left(grant.end, clock)) {
    out["expires_at"] = time_json(on_wall(grant.end, clock));
    out["remaining_s"] = std::chrono::ceil<std::chrono::seconds>(*left).count();
  }
  return out;
}

object history_json(const grants::Grant& grant, const Clock& clock) {
  auto out = to_json(grant, clock);
  const auto ended = grant.ended.value_or(grant.created);
  // A wall clock that was set back meanwhile makes no negative time.
  const auto lasted =
      std::max(std::chrono::round<std::chrono::seconds>(ended - grant.created), std::chrono::seconds(0));
  out["ended_at"] = format_utc(ended);
  out["lasted_s"] = lasted.count();
  out["how"] = grants::to_string(grant.state);
  out["ended_by"] = actor_json(grant.ended_by);
  out["end_reason"] = grant.end_reason;
  return out;
}

object to_json(const grants::Request& request, const Clock& clock) {
  object out{{"id", request.id()},
             {"user", object{{"name", request.who.name}, {"uid", request.who.uid}}},
             {"duration_s", request.duration.count()},
             {"gpus", request.gpus},
             {"reason", request.reason},
             {"created_at", format_utc(request.created)},
             {"lapses_at", nullptr},
             {"state", grants::to_string(request.state)},
             {"decided_at", time_json(request.decided)},
             {"decided_by", actor_json(request.decided_by)},
             {"answer", request.answer},
             {"grant_id", nullptr}};
  if (request.state == grants::RequestState::pending) out["lapses_at"] = time_json(on_wall(request.lapses, clock));
  if (request.grant) out["grant_id"] = fmt::format("g-{}", *request.grant);
  return out;
}

json::array notices_json(const std::vector<notify::Notice>& notices) {
  json::array out;
  for (const auto& notice : notices)
    out.push_back(object{{"number", notice.number}, {"time", format_utc(notice.time)}, {"text", notice.text}});
  return out;
}

json::array denials_json(const std::vector<kernel::Count>& counts, std::optional<uid_t> uid,
                         const identity::Users& users, const Clock& clock) {
  std::vector<kernel::Count> rows;
  for (const auto& row : counts) {
    const auto denials = row.value.verdicts[DS01_DENIED] + row.value.verdicts[DS01_WOULD_DENY];
    if (denials != 0 && row.key.device_class != DS01_CLASS_SELFTEST && (!uid || row.key.uid == *uid))
      rows.push_back(row);
  }
  std::ranges::sort(
      rows, {}, [](const kernel::Count& row) { return std::tuple(row.key.uid, row.key.device_class, row.key.hook); });
  json::array out;
  for (const auto& row : rows)
    out.push_back(object{{"user", identity::display_name(users, row.key.uid)},
                         {"uid", row.key.uid},
                         {"class", devices::class_name(row.key.device_class)},
                         {"hook", devices::hook_name(row.key.hook)},
                         {"count", row.value.verdicts[DS01_DENIED]},
                         {"would_deny_count", row.value.verdicts[DS01_WOULD_DENY]},
                         {"first_at", moment_json(row.value.first_denial, clock)},
                         {"last_at", moment_json(row.value.last_denial, clock)}});
  return out;
}

json::array holders_json(const std::vector<holders::Holder>& holders, const identity::Users& users,
                         const identity::Cgroups& cgroups, const Clock& clock) {
  json::array out;
  for (const auto& holder : holders) {
    const auto& decisive = holder.decisive();
    const auto grant = holder.covering_grant();
    const auto names = holder.names();
    out.push_back(object{{"pid", holder.pid},
                         {"comm", holder.comm},
                         {"user", identity::display_name(users, holder.uid)},
                         {"uid", holder.uid},
                         {"cgroup", cgroups.path_of(holder.cgroup)},
                         {"devices", json::array(names.begin(), names.end())},
                         {"fds", holder.fds},
                         {"maps", holder.maps},
                         {"since", moment_json(holder.started, clock)},
                         {"grant_id", grant != 0 ? json::value(fmt::format("g-{}", grant)) : json::value()},
                         {"allowed", holder.allowed()},
                         {"denied_device", holder.allowed() ? json::value() : json::value(decisive.name)},
                         {"why", audit::explain(decisive.reason)}});
  }
  return out;
}

}  // namespace ds01::control
