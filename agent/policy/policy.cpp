// SPDX-License-Identifier: Apache-2.0
#include "policy/policy.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace ds01::policy {
namespace {

constexpr std::uint32_t kBlock = 1U << DS01_BLOCK_BITS;

// The container runtimes. libnvidia-container's hook, which they start, switches to this user and opens the GPUs; were
// that denied, no GPU container would start. Not below them: whoever may make cgroups there is no runtime.
constexpr std::array kRuntimes{"/system.slice/docker.service", "/system.slice/containerd.service"};
constexpr uid_t kHookUser = 65534;

std::uint16_t kernel_class(config::DeviceClass device_class) {
  switch (device_class) {
    case config::DeviceClass::gpu: return DS01_CLASS_GPU;
    case config::DeviceClass::control: return DS01_CLASS_CONTROL;
    case config::DeviceClass::compute: return DS01_CLASS_COMPUTE;
    case config::DeviceClass::capability: return DS01_CLASS_CAPABILITY;
    case config::DeviceClass::fabric: return DS01_CLASS_FABRIC;
    case config::DeviceClass::dri: return DS01_CLASS_DRI;
  }
  std::unreachable();
}

// Keeps one rule per key. Where ranges overlap the first one stands, so a configuration's order decides.
class Rules {
 public:
  ds01_rule& at(std::uint32_t kind, std::uint64_t id, std::uint32_t sub = 0) { return rules_[{kind, id, sub}]; }
  // The kernel side looks for the very device first, so a block that stands already must keep it out.
  void add_device(std::uint32_t device, const ds01_rule& rule) {
    if (!rules_.contains({DS01_RULE_BLOCK, device >> DS01_BLOCK_BITS, 0}))
      rules_.try_emplace({DS01_RULE_DEVICE, device, 0}, rule);
  }
  void add_block(std::uint32_t block, const ds01_rule& rule) { rules_.try_emplace({DS01_RULE_BLOCK, block, 0}, rule); }
  void add_driver(const std::string& name, const ds01_rule& rule) {
    const auto hash = ds01_name_hash(name.data(), static_cast<std::uint32_t>(name.size()));
    rules_.try_emplace({DS01_RULE_NAME, hash, 0}, rule);
  }
  std::vector<Rule> list() const {
    std::vector<Rule> rules;
    for (const auto& [key, rule] : rules_)
      rules.push_back({{std::get<1>(key), std::get<0>(key), std::get<2>(key)}, rule});
    return rules;
  }

 private:
  std::map<std::tuple<std::uint32_t, std::uint64_t, std::uint32_t>, ds01_rule> rules_;
};

// Whole blocks of minors become one rule, unless each minor has an index of its own.
void add_range(Rules& rules, const devices::DeviceRange& range, ds01_rule rule) {
  rule.cap_family = range.cap_family;
  if (range.index_is_minor || range.index) rule.flags |= DS01_INDEXED;
  for (std::uint32_t minor = range.first_minor; minor <= range.last_minor;) {
    const auto device = DS01_DEV(range.major, minor);
    if (!range.index_is_minor && minor % kBlock == 0 && minor + kBlock - 1 <= range.last_minor) {
      rules.add_block(device >> DS01_BLOCK_BITS, rule);
      minor += kBlock;
      continue;
    }
    rule.index = static_cast<std::uint16_t>(range.index_is_minor ? minor : range.index.value_or(0));
    rules.add_device(device, rule);
    ++minor;
  }
}

// Not by index: which minor is which GPU's is only known of a driver that is looked at.
void add_driver(Rules& rules, const devices::Driver& driver, ds01_rule rule) {
  rule.cap_family = driver.cap_family;
  rules.add_driver(driver.name, rule);
}

// The kernel side adds the flags of both rules up: DS01_EXACT in one of them also narrows what the other says. So it
// stands at the pair, and only if nothing wider holds for the pair already.
void add_exact_pair(Rules& rules, const identity::Cgroup& cgroup, uid_t uid) {
  auto& whole = rules.at(DS01_RULE_CGROUP, cgroup.id);
  if ((whole.flags & (DS01_ALLOW | DS01_EXEMPT)) != 0) return;
  whole.flags |= DS01_PAIRED;
  auto& pair = rules.at(DS01_RULE_CGROUP_UID, cgroup.id, uid);
  if (pair.flags == 0) pair.flags = DS01_EXEMPT | DS01_EXACT;
}

void add_cgroups(Rules& rules, const Resolved& resolved) {
  for (const auto& cgroup : resolved.allowed_cgroups) rules.at(DS01_RULE_CGROUP, cgroup.id).flags |= DS01_ALLOW;
  for (const auto& cgroup : resolved.exempt_cgroups) rules.at(DS01_RULE_CGROUP, cgroup.id).flags |= DS01_EXEMPT;
  for (const auto& [cgroup, uid] : resolved.exempt_pairs) {
    rules.at(DS01_RULE_CGROUP, cgroup.id).flags |= DS01_PAIRED;
    rules.at(DS01_RULE_CGROUP_UID, cgroup.id, uid).flags |= DS01_EXEMPT;
  }
  for (const auto& [cgroup, uid] : resolved.exact_pairs) add_exact_pair(rules, cgroup, uid);
}

std::uint64_t depth_mask(const Resolved& resolved) {
  std::uint64_t depths = 0;
  for (const auto& cgroup : resolved.allowed_cgroups) depths |= std::uint64_t{1} << cgroup.depth;
  for (const auto& cgroup : resolved.exempt_cgroups) depths |= std::uint64_t{1} << cgroup.depth;
  for (const auto& [cgroup, uid] : resolved.exempt_pairs) depths |= std::uint64_t{1} << cgroup.depth;
  for (const auto& [cgroup, uid] : resolved.exact_pairs) depths |= std::uint64_t{1} << cgroup.depth;
  return depths;
}

ds01_rule object_rule(const Resolved& resolved, const ModeState& mode) {
  ds01_rule rule = {};
  rule.depths = depth_mask(resolved);
  if (!resolved.denied_uids.empty() || !resolved.exempt_uids.empty()) rule.flags |= DS01_USERS;
  rule.mode = kernel_mode(mode.mode);
  rule.mode_after = kernel_mode(mode.after);
  rule.mode_until = mode.until ? static_cast<std::uint64_t>(mode.until->time_since_epoch().count()) : DS01_NEVER;
  return rule;
}

// To query a GPU takes its node and the control node; what computes needs others, as far as it is CUDA.
ds01_rule in_class(ds01_rule rule, config::DeviceClass device_class, const Resolved& resolved) {
  using enum config::DeviceClass;
  rule.device_class = kernel_class(device_class);
  if (resolved.open_telemetry && (device_class == gpu || device_class == control)) rule.flags |= DS01_QUERY;
  return rule;
}

// Looks names up and remembers what did not resolve.
class Resolver {
 public:
  Resolver(const identity::Users& users, const identity::Cgroups& cgroups, std::vector<std::string>& warnings)
      : users_(users), cgroups_(cgroups), warnings_(warnings) {}

  void users(const std::vector<std::string>& names, std::string_view key, std::set<uid_t>& uids) {
    for (const auto& name : names)
      if (const auto uid = keep(identity::find_uid(users_, name), key)) uids.insert(*uid);
  }
  void groups(const std::vector<std::string>& names, std::string_view key, std::set<uid_t>& uids) {
    for (const auto& name : names)
      if (auto members = keep(users_.members_of(name), key)) uids.merge(*members);
  }
  std::optional<identity::Cgroup> cgroup(const std::string& path, std::string_view key) {
    const auto found = cgroups_.find(path);
    if (!found && found.error().code == ErrorCode::not_found) return std::nullopt;
    return keep(found, key);
  }
  std::vector<identity::Cgroup> cgroups(const std::vector<std::string>& paths, std::string_view key) {
    std::vector<identity::Cgroup> found;
    for (const auto& path : paths)
      if (const auto one = cgroup(path, key)) found.push_back(*one);
    return found;
  }

 private:
  template <class T>
  std::optional<T> keep(const Result<T>& result, std::string_view key) {
    if (result) return *result;
    warnings_.push_back(fmt::format("{}: {}, ignoring it", key, result.error().message));
    return std::nullopt;
  }

  const identity::Users& users_;
  const identity::Cgroups& cgroups_;
  std::vector<std::string>& warnings_;
};

}  // namespace

std::uint8_t kernel_mode(config::Mode mode) {
  switch (mode) {
    case config::Mode::disabled: return DS01_MODE_DISABLED;
    case config::Mode::monitoring: return DS01_MODE_MONITORING;
    case config::Mode::full: return DS01_MODE_FULL;
  }
  std::unreachable();
}

Result<Resolved> resolve(const config::Config& config, const devices::Machine& machine, const identity::Users& users,
                         const identity::Cgroups& cgroups, const Resolved* last) {
  Resolved resolved;
  DS01_TRY(auto gated, devices::resolve(config.devices, machine));
  resolved.devices = std::move(gated.ranges);
  resolved.drivers = std::move(gated.drivers);
  resolved.open_telemetry = config.open_telemetry;
  Resolver look_up(users, cgroups, resolved.warnings);
  look_up.users(config.deny_users, "deny.users", resolved.denied_uids);
  if (last != nullptr && !resolved.warnings.empty())
    resolved.denied_uids.insert(last->denied_uids.begin(), last->denied_uids.end());
  if (resolved.denied_uids.erase(0) != 0)
    resolved.warnings.emplace_back(
        "deny.users: root cannot be denied on the host, and elsewhere needs no rule, ignoring it");
  look_up.users(config.exempt_users, "exempt.users", resolved.exempt_uids);
  look_up.groups(config.exempt_groups, "exempt.groups", resolved.exempt_uids);
  resolved.allowed_cgroups = look_up.cgroups(config.allow_cgroups, "allow.cgroups");
  resolved.exempt_cgroups = look_up.cgroups(config.exempt_cgroups, "exempt.cgroups");
  for (const auto& rule : config.exempt_rules) {
    const auto cgroup = look_up.cgroup(rule.cgroup, "exempt.rules");
    std::set<uid_t> uids;
    if (rule.group.empty())
      look_up.users({rule.user}, "exempt.rules", uids);
    else
      look_up.groups({rule.group}, "exempt.rules", uids);
    if (!cgroup) continue;
    for (const auto uid : uids) resolved.exempt_pairs.emplace_back(*cgroup, uid);
  }
  for (const auto* path : kRuntimes)
    if (const auto cgroup = look_up.cgroup(path, "container runtime"))
      resolved.exact_pairs.emplace_back(*cgroup, kHookUser);
  return resolved;
}

std::set<std::string> named_cgroups(const config::Config& config) {
  std::set<std::string> paths(config.allow_cgroups.begin(), config.allow_cgroups.end());
  paths.insert(config.exempt_cgroups.begin(), config.exempt_cgroups.end());
  for (const auto& rule : config.exempt_rules) paths.insert(rule.cgroup);
  paths.insert(kRuntimes.begin(), kRuntimes.end());
  return paths;
}

std::vector<Rule> compile(const Resolved& resolved, const ModeState& mode, const std::vector<ds01_rule_key>& sockets) {
  Rules rules;
  const auto object = object_rule(resolved, mode);
  for (const auto& range : resolved.devices) add_range(rules, range, in_class(object, range.device_class, resolved));
  for (const auto& driver : resolved.drivers)
    add_driver(rules, driver, in_class(object, driver.device_class, resolved));
  for (const auto uid : resolved.exempt_uids) rules.at(DS01_RULE_UID, uid).flags |= DS01_EXEMPT;
  for (const auto uid : resolved.denied_uids)
    if (uid != 0) rules.at(DS01_RULE_UID, uid).flags |= DS01_DENY;
  add_cgroups(rules, resolved);

  auto list = rules.list();
  ds01_rule socket_rule = {};
  socket_rule.device_class = DS01_CLASS_ADMIN_SOCKET;
  socket_rule.mode = DS01_MODE_FULL;
  socket_rule.mode_until = DS01_NEVER;
  for (const auto& key : sockets) list.push_back({key, socket_rule});
  return list;
}

}  // namespace ds01::policy
