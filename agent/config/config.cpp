// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "config/devices.h"
#include "config/readers.h"
#include "config/value.h"
#include "config/yaml_reader.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/text.h"

namespace ds01::config {
namespace {

using std::chrono::seconds;

constexpr std::string_view kUsers = "a list of users such as [alice]";
constexpr std::string_view kGroups = "a list of groups such as [staff]";
constexpr std::string_view kExemptRules = "a list of {cgroup: …, user: …} or {cgroup: …, group: …}";
constexpr std::string_view kAutoApprove = "a list of {group: …, up_to: …}";
constexpr std::string_view kCgroups = "a list of cgroups such as [/ds01.slice]";

// A key that is checked but has no effect in this version: noted when the file asks for anything but the default.
template <class T, class Reader>
Decode without_effect(Config& config, Reader read, T documented_default) {
  return [&config, read, documented_default](const Value& value) -> Status {
    DS01_TRY(const T wanted, read(value));
    if (wanted != documented_default) config.without_effect.push_back(value.key());
    return {};
  };
}

// A key whose value is a map of its own.
template <class T>
Decode section(T& target, Status (*read)(const Value&, T&)) {
  return [&target, read](const Value& value) { return read(value, target); };
}

Status check_version(const Value& value) {
  DS01_TRY(const auto text, value.text("1"));
  if (text != "1") return value.fail(fmt::format("expected 1, the only version there is, found {}", in_quotes(text)));
  return {};
}

Result<bool> read_telemetry(const Value& value) {
  DS01_TRY(const auto text, value.text("deny or allow"));
  if (text == "deny") return false;
  if (text == "allow") return true;
  return value.fail(fmt::format("expected deny or allow, found {}", in_quotes(text)));
}

Status read_allow(const Value& value, Config& config) {
  return read_fields(value, {{"cgroups", into(config.allow_cgroups, list_of(read_cgroup, kCgroups))}});
}

Result<ExemptRule> read_exempt_rule(const Value& value) {
  ExemptRule rule;
  DS01_CHECK(read_fields(value, {{"cgroup", into(rule.cgroup, read_cgroup), true},
                                 {"user", into(rule.user, read_user)},
                                 {"group", into(rule.group, read_group)}}));
  if (rule.user.empty() && rule.group.empty()) return value.fail("needs the key 'user' or 'group'");
  if (!rule.user.empty() && !rule.group.empty())
    return value.fail("has both 'user' and 'group'; write a rule for each");
  return rule;
}

Status read_exempt(const Value& value, Config& config) {
  return read_fields(value, {{"users", into(config.exempt_users, list_of(read_user, kUsers))},
                             {"groups", into(config.exempt_groups, list_of(read_group, kGroups))},
                             {"cgroups", into(config.exempt_cgroups, list_of(read_cgroup, kCgroups))},
                             {"rules", into(config.exempt_rules, list_of(read_exempt_rule, kExemptRules))}});
}

// Root is never denied: a rule for it would be accepted and do nothing.
Result<std::string> read_deniable_user(const Value& value) {
  DS01_TRY(auto user, read_user(value));
  if (user == "root" || (user.starts_with("uid:") && user.find_first_not_of('0', 4) == user.npos))
    return value.fail("root cannot be denied; exemptions and modes do not bind it either");
  return user;
}

Status read_deny(const Value& value, Config& config) {
  return read_fields(value, {{"users", into(config.deny_users, list_of(read_deniable_user, kUsers))}});
}

Status read_admin(const Value& value, Config& config) {
  return read_fields(value, {{"users", into(config.admin_users, list_of(read_user, kUsers))},
                             {"groups", into(config.admin_groups, list_of(read_group, kGroups))}});
}

Result<std::map<std::string, seconds>> read_maximum_by_group(const Value& value) {
  DS01_TRY(const auto entries, value.map());
  std::map<std::string, seconds> result;
  for (const auto& entry : entries) {
    DS01_CHECK(check_group(entry.name, entry.value.at_line(entry.line)));
    DS01_TRY(result[entry.name], read_duration(entry.value));
  }
  return result;
}

Result<AutoApprove> read_auto_approve(const Value& value) {
  AutoApprove rule;
  DS01_CHECK(read_fields(
      value, {{"group", into(rule.group, read_group), true}, {"up_to", into(rule.up_to, read_duration), true}}));
  return rule;
}

// A rule above the maximum would be accepted and never approve what it says.
Status check_auto_approve(const Value& value, const Grants& grants) {
  DS01_TRY(const auto entries, value.map());
  const auto found = std::ranges::find(entries, "auto_approve", &Entry::name);
  for (std::size_t i = 0; i < grants.auto_approve.size(); ++i) {
    const auto& rule = grants.auto_approve[i];
    const auto own = grants.maximum_by_group.find(rule.group);
    const bool has_own = own != grants.maximum_by_group.end();
    const auto maximum = has_own ? own->second : grants.maximum;
    if (rule.up_to <= maximum) continue;
    DS01_TRY(const auto items, found->value.list("a list"));
    return items[i].fail(fmt::format("up_to ({}) must not be above grants.{} ({})", format_duration(rule.up_to),
                                     has_own ? "maximum_by_group." + escaped(rule.group) : "maximum",
                                     format_duration(maximum)));
  }
  return {};
}

// Either of the two may be in the file alone, against the other's default: complain about the one that is there.
Status check_default(const Value& value, const Grants& grants) {
  if (grants.default_duration <= grants.maximum) return {};
  DS01_TRY(const auto entries, value.map());
  const Value* last = &value;
  for (const auto& entry : entries)
    if (entry.name == "default" || (entry.name == "maximum" && last == &value)) last = &entry.value;
  return last->fail(fmt::format("grants.default ({}) must not be above grants.maximum ({})",
                                format_duration(grants.default_duration), format_duration(grants.maximum)));
}

Status read_grants(const Value& value, Config& config) {
  Grants& grants = config.grants;
  DS01_CHECK(read_fields(value, {{"default", into(grants.default_duration, read_duration)},
                                 {"maximum", into(grants.maximum, read_duration)},
                                 {"maximum_by_group", into(grants.maximum_by_group, read_maximum_by_group)},
                                 {"require_reason", into(grants.require_reason, read_bool)},
                                 {"on_expiry", into(grants.on_expiry, read_on_expiry)},
                                 {"soft_grace", into(grants.soft_grace, read_duration)},
                                 {"kill_grace", into(grants.kill_grace, read_duration)},
                                 {"auto_approve", into(grants.auto_approve, list_of(read_auto_approve, kAutoApprove))},
                                 {"request_ttl", into(grants.request_ttl, read_duration)},
                                 {"max_pending_per_user", into(grants.max_pending_per_user, number_in(0, 1000))}}));
  DS01_CHECK(check_default(value, grants));
  return check_auto_approve(value, grants);
}

// The longest first, whatever the order in the file. "60m" and "1h" are the same warning.
Result<std::vector<seconds>> read_before_end(const Value& value) {
  constexpr std::size_t kMost = 10;
  DS01_TRY(const auto items, value.list("a list of durations such as [1h, 10m]"));
  if (items.size() > kMost) return value.fail(fmt::format("at most {} warnings, found {}", kMost, items.size()));
  std::vector<seconds> warnings;
  for (const auto& item : items) {
    DS01_TRY(const auto before, read_duration(item));
    if (std::ranges::find(warnings, before) != warnings.end())
      return item.fail(fmt::format("{} is in the list already; keep one", format_duration(before)));
    warnings.push_back(before);
  }
  std::ranges::sort(warnings, std::greater());
  return warnings;
}

Status read_notices(const Value& value, Config& config) {
  return read_fields(value, {{"before_end", into(config.notices.before_end, read_before_end)},
                             {"denied_text", without_effect<std::string>(config, read_text, "")}});
}

Status read_audit(const Value& value, Config& config) {
  return read_fields(value, {{"limit", into(config.audit.limit, number_in(0, 100000))},
                             {"window", into(config.audit.window, read_duration)},
                             {"journald", into(config.audit.journald, read_bool)},
                             {"json", into(config.audit.json, read_optional_path)}});
}

Status read_quota(const Value& value, Config& config) {
  return read_fields(
      value, {{"limits", without_effect<std::filesystem::path>(config, read_path, "/etc/ds01/resource-limits.yaml")},
              {"warn_at", without_effect<double>(config, read_ratio, 0.9)}});
}

// The gate for Docker's socket is not in this version, which is what `disabled` says.
struct Modes {
  Config& config;
  Mode all;
  std::optional<Mode> gpu;
};

Status read_gates(const Value& value, Modes& modes) {
  return read_fields(value, {{"gpu", into(modes.gpu, read_mode)},
                             {"docker", without_effect<Mode>(modes.config, read_mode, Mode::disabled)}});
}

Result<Config> read_config(const Value& root) {
  Config config;
  config.devices = default_devices();
  Modes modes{config, Mode::monitoring, std::nullopt};
  DS01_CHECK(read_fields(root, {{"version", check_version},
                                {"mode", into(modes.all, read_mode)},
                                {"gates", section(modes, read_gates)},
                                {"devices", into(config.devices, read_devices)},
                                {"telemetry", into(config.open_telemetry, read_telemetry)},
                                {"allow", section(config, read_allow)},
                                {"exempt", section(config, read_exempt)},
                                {"deny", section(config, read_deny)},
                                {"admin", section(config, read_admin)},
                                {"grants", section(config, read_grants)},
                                {"notices", section(config, read_notices)},
                                {"audit", section(config, read_audit)},
                                {"quota", section(config, read_quota)}}));
  config.gpu_mode = modes.gpu.value_or(modes.all);
  return config;
}

}  // namespace

Result<Config> load(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code ignored;  // read_file says what is wrong with the path
  if (std::filesystem::is_directory(path, ignored))
    return fail(ErrorCode::invalid, fmt::format("{}: is a directory; expected a file", name));
  DS01_TRY(const auto text, read_file(path, kMaxFileSize));
  DS01_TRY(const auto root, parse_yaml(text, name));
  return read_config(Value(root, name));
}

}  // namespace ds01::config
