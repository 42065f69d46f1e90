// SPDX-License-Identifier: Apache-2.0
// agent.yaml as plain data. load() is the only way from YAML to a Config, for the daemon and for --check-config alike:
// what it returns is complete and valid, defaults filled in. Immutable after loading, so any thread may read it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/result.h"

namespace ds01::config {

enum class Mode { disabled, monitoring, full };
enum class OnExpiry { soft, cut, kill };
enum class DeviceClass { gpu, control, compute, capability, fabric, dri };

std::string_view to_string(Mode mode);
std::string_view to_string(OnExpiry action);
std::string_view to_string(DeviceClass device_class);
std::optional<Mode> parse_mode(std::string_view text);
std::optional<OnExpiry> parse_on_expiry(std::string_view text);
std::optional<DeviceClass> parse_device_class(std::string_view text);

// A vendor on the PCI bus.
struct Vendor {
  std::uint32_t id;

  bool operator==(const Vendor&) const = default;
};
// "0x10de", as sysfs has it.
std::optional<Vendor> parse_vendor(std::string_view text);

// One `devices:` entry: these nodes are of this class. Both ends of the range of minors are included.
struct DeviceRule {
  DeviceClass device_class;
  // Those of a major, which is a number or an exact name in /proc/devices; or all DRI and accelerator nodes of a
  // vendor.
  std::variant<std::uint32_t, std::string, Vendor> nodes;
  std::uint32_t first_minor = 0;
  std::uint32_t last_minor = 0;
  bool index_is_minor = false;  // the minor is the GPU's index; otherwise every grant covers the node (`index: none`)
  std::string where;            // "agent.yaml:12: devices[3]", or "built-in default", for messages

  bool operator==(const DeviceRule&) const = default;
};

// `exempt: rules:` - a user or a group's members, but only in this cgroup or below it.
struct ExemptRule {
  std::string cgroup;
  std::string user;   // a name or "uid:N"; empty: it is for a group
  std::string group;  // empty: it is for a user

  bool operator==(const ExemptRule&) const = default;
};

// Requests of this group's members for at most this long need no admin.
struct AutoApprove {
  std::string group;
  std::chrono::seconds up_to;

  bool operator==(const AutoApprove&) const = default;
};

struct Grants {
  std::chrono::seconds default_duration = std::chrono::hours(24);
  std::chrono::seconds maximum = std::chrono::hours(24 * 7);
  std::map<std::string, std::chrono::seconds> maximum_by_group;
  bool require_reason = false;
  OnExpiry on_expiry = OnExpiry::cut;
  std::chrono::seconds soft_grace = std::chrono::hours(24);
  std::chrono::seconds kill_grace = std::chrono::seconds(60);
  std::vector<AutoApprove> auto_approve;
  std::chrono::seconds request_ttl = std::chrono::hours(24);
  std::uint32_t max_pending_per_user = 3;

  bool operator==(const Grants&) const = default;
};

struct Notices {
  std::vector<std::chrono::seconds> before_end{std::chrono::hours(1), std::chrono::minutes(10)};  // the longest first

  bool operator==(const Notices&) const = default;
};

struct Audit {
  std::uint32_t limit = 10;  // denial lines per user and window
  std::chrono::seconds window = std::chrono::hours(1);
  bool journald = true;
  std::filesystem::path json = "/var/log/ds01/audit.jsonl";  // empty: no file

  bool operator==(const Audit&) const = default;
};

struct Config {
  Mode gpu_mode = Mode::monitoring;
  std::vector<DeviceRule> devices;
  bool open_telemetry = false;  // `telemetry: allow`
  std::vector<std::string> allow_cgroups{"/ds01.slice"};
  std::vector<std::string> exempt_users;
  std::vector<std::string> exempt_groups;
  std::vector<std::string> exempt_cgroups;
  std::vector<ExemptRule> exempt_rules;
  std::vector<std::string> deny_users;
  std::vector<std::string> admin_users;
  std::vector<std::string> admin_groups{"ds01-admin"};
  Grants grants;
  Notices notices;
  Audit audit;
  // Valid keys of the contract that this version reads but does not act on ("quota.limits"), so that the
  // daemon can say so: a policy that is accepted and silently not enforced is the worst bug of all.
  std::vector<std::string> without_effect;
};

// The device rules of a configuration without a `devices:` key: the GPUs of NVIDIA, AMD and Intel.
std::vector<DeviceRule> default_devices();

// Reads and validates. A missing, unreadable or empty file, a syntax error, an unknown or repeated key, a wrong type or
// an impossible value is an error whose message is "PATH:LINE: KEY: reason".
Result<Config> load(const std::filesystem::path& path);

}  // namespace ds01::config
