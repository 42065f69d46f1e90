// SPDX-License-Identifier: Apache-2.0
#include "audit/entry.h"

#include <array>

#include <boost/json.hpp>

namespace ds01::audit {
namespace {

namespace json = boost::json;

// OCSF 1.3: https://schema.ocsf.io. type_uid is class_uid * 100 + activity_id.
struct KindInfo {
  std::string_view name;
  std::string_view message_id;
  int class_uid;
  int activity_id;
  std::string_view class_name;
  std::string_view activity_name;
};

constexpr std::string_view kFileActivity = "File System Activity";
constexpr std::string_view kUserAccess = "User Access Management";
constexpr std::string_view kEntity = "Entity Management";
constexpr std::string_view kLifecycle = "Application Lifecycle";
constexpr std::string_view kApi = "API Activity";

constexpr std::array kKinds{
    KindInfo{"denial", "546096117a134a3290c79efc84a9b2d6", 1001, 14, kFileActivity, "Open"},
    KindInfo{"summary", "31853e716ea040cf928afcef2fa3d200", 1001, 14, kFileActivity, "Open"},
    KindInfo{"grant", "42e1b345c25b429894232fd10a421de0", 3005, 1, kUserAccess, "Assign Privileges"},
    KindInfo{"extend", "d4f7bb8a484546b8b32f515e60b2dc20", 3005, 1, kUserAccess, "Assign Privileges"},
    KindInfo{"revoke", "6a11901f56ad4e2dac20aeca97498401", 3005, 2, kUserAccess, "Revoke Privileges"},
    KindInfo{"expiry", "a7fcb3763dac477fbfa9f95cf7fa59bf", 3005, 2, kUserAccess, "Revoke Privileges"},
    KindInfo{"suspend", "8071c567c3f9490bb40cfdfcd1f775a0", 3005, 2, kUserAccess, "Revoke Privileges"},
    KindInfo{"resume", "77585a9ad2344291b5abe340d66edfc2", 3005, 1, kUserAccess, "Assign Privileges"},
    KindInfo{"request", "0c50f672d5fd42d1972223160ed192af", 3005, 99, kUserAccess, "Request"},
    KindInfo{"answer", "585fa78d03d84ed4bfa3a6f21936a7bb", 3005, 99, kUserAccess, "Answer"},
    KindInfo{"notice", "75b4aac2ab62462798002bca21e5f187", 3005, 99, kUserAccess, "Notice"},
    KindInfo{"mode", "634f72c55f96492295dd025d83d40f20", 3004, 3, kEntity, "Update"},
    KindInfo{"start", "9a8d8d44dd824c02a11cb046bab0f725", 6002, 3, kLifecycle, "Start"},
    KindInfo{"stop", "49b510190dbf43819849b5dc6452c0c5", 6002, 4, kLifecycle, "Stop"},
    KindInfo{"refused", "6dfc9d97caea4278bda4020cd31cd11c", 6003, 99, kApi, "Refused"},
    KindInfo{"reload", "02e06d0464784f29a5d02c45d8dedf64", 3004, 3, kEntity, "Update"},
    KindInfo{"drift", "a1cb3c079ca44eeaa762ccabad72dd59", 3004, 3, kEntity, "Update"},
    KindInfo{"signal", "21e404e3064a46e7a44a7ebdff70e6f4", 3005, 2, kUserAccess, "Revoke Privileges"},
    KindInfo{"recursion", "289d716c767a414fb252173dd77d07f9", 6002, 99, kLifecycle, "Programs skipped"},
    KindInfo{"held", "38d475a07a8043d49b12e57261c18a7e", 1001, 99, kFileActivity, "Held"},
    KindInfo{"lost", "5ee2b44bf599418e8bc76f620eee0e9e", 6002, 99, kLifecycle, "Events lost"},
};

static_assert(kKinds.size() == static_cast<std::size_t>(Kind::lost) + 1);

const KindInfo& info(Kind kind) { return kKinds.at(static_cast<std::size_t>(kind)); }

// OCSF severities: 1 informational, 2 low, 3 medium, 4 high, 5 critical.
int severity(Level level) {
  switch (level) {
    case Level::critical: return 5;
    case Level::error: return 4;
    case Level::warning: return 3;
    case Level::notice: return 2;
    case Level::info: return 1;
  }
  std::unreachable();
}

// Numbers stay numbers; everything else is a string.
json::value typed(std::string_view text) {
  std::uint64_t number = 0;
  if (text.empty() || text.size() > 18 || (text.size() > 1 && text[0] == '0')) return json::string(text);
  for (const char c : text) {
    if (c < '0' || c > '9') return json::string(text);
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return number;
}

std::string field(const Entry& entry, std::string_view name) {
  for (const auto& [key, value] : entry.fields)
    if (key == name) return value;
  return "";
}

json::object actor(const Entry& entry) {
  json::object user;
  user["name"] = field(entry, "user");
  user["uid"] = field(entry, "uid");
  json::object out{{"user", user}};
  if (entry.kind != Kind::denial && entry.kind != Kind::held) return out;
  json::object process{{"pid", typed(field(entry, "pid"))}, {"name", field(entry, "comm")}};
  process["file"] = json::object{{"path", field(entry, "exe")}};
  out["process"] = process;
  return out;
}

// Denied and blocked, or in monitoring mode allowed and detected.
void add_outcome(json::object& line, const Entry& entry) {
  const bool blocked = field(entry, "verdict") == "denied";
  line["action_id"] = blocked ? 2 : 1;
  line["action"] = blocked ? "Denied" : "Allowed";
  line["disposition_id"] = blocked ? 2 : 15;
  line["disposition"] = blocked ? "Blocked" : "Detected";
  line["status_id"] = blocked ? 2 : 1;
  line["file"] = json::object{{"name", field(entry, "device")}, {"type_id", 3}, {"type", "Character Device"}};
}

}  // namespace

std::string_view name_of(Kind kind) { return info(kind).name; }
std::string_view message_id(Kind kind) { return info(kind).message_id; }

std::string to_json(const Entry& entry) {
  const auto& kind = info(entry.kind);
  json::object line;
  line["time"] = std::chrono::duration_cast<std::chrono::milliseconds>(entry.time.time_since_epoch()).count();
  line["time_dt"] = format_utc(entry.time);
  line["class_uid"] = kind.class_uid;
  line["class_name"] = kind.class_name;
  line["category_uid"] = kind.class_uid / 1000;
  line["activity_id"] = kind.activity_id;
  line["activity_name"] = kind.activity_name;
  line["type_uid"] = kind.class_uid * 100 + kind.activity_id;
  line["severity_id"] = severity(entry.level);
  line["message"] = entry.message;
  line["metadata"] =
      json::object{{"version", "1.3.0"}, {"product", json::object{{"name", "ds01"}, {"version", DS01_VERSION}}}};
  line["actor"] = actor(entry);
  if (kind.class_name == kFileActivity) add_outcome(line, entry);
  json::object rest{{"kind", kind.name}};
  for (const auto& [key, value] : entry.fields) rest[key] = typed(value);
  line["unmapped"] = rest;
  return json::serialize(line);
}

}  // namespace ds01::audit
