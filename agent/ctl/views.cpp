// SPDX-License-Identifier: Apache-2.0
#include "ctl/views.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "core/clock.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

// A field as text that is safe to print; "-" where it is null or missing.
std::string text(const json::value& value, std::string_view key) {
  const auto* object = value.if_object();
  const auto* field = object != nullptr ? object->if_contains(key) : nullptr;
  if (field == nullptr || field->is_null()) return "-";
  return harmless(field->is_string() ? std::string(field->as_string()) : json::serialize(*field));
}

const json::value& at(const json::value& value, std::string_view key) {
  static const json::value kNull;
  const auto* object = value.if_object();
  const auto* field = object != nullptr ? object->if_contains(key) : nullptr;
  return field != nullptr ? *field : kNull;
}

std::string subject_of(const json::value& grant) {
  const auto& subject = at(grant, "subject");
  return text(subject, "kind") == "cgroup" ? "cgroup:" + text(subject, "path") : text(subject, "name");
}

std::string gpus_of(const json::value& grant) {
  const auto& gpus = at(grant, "gpus");
  if (!gpus.is_array()) return text(grant, "gpus");
  std::vector<std::string> indices;
  for (const auto& gpu : gpus.as_array()) indices.push_back(text(gpu, "index"));
  return fmt::format("{}", fmt::join(indices, ","));
}

std::string left_of(const json::value& grant) {
  const auto& left = at(grant, "remaining_s");
  return left.is_int64() ? format_duration(std::chrono::seconds(left.as_int64())) : "permanent";
}

std::string state_of(const json::value& grant) {
  return text(grant, "state") == "active" ? left_of(grant) : text(grant, "state");
}

}  // namespace

std::string grants_view(const json::array& grants, const TableStyle& style) {
  Table table{{"ID", "SUBJECT", "GPUS", "LEFT", "ENDS", "BY", "REASON"}, {}, 6};
  for (const auto& grant : grants)
    table.rows.push_back({text(grant, "id"), subject_of(grant), gpus_of(grant), state_of(grant),
                          text(grant, "expires_at"), text(at(grant, "granted_by"), "name"), text(grant, "reason")});
  auto out = render(table, style);
  if (style.legend) out += fmt::format("\n{} grant{}\n", grants.size(), grants.size() == 1 ? "" : "s");
  return out;
}

std::string grant_view(const json::value& grant) {
  return fmt::format(
      "{}: {} may use {}\n"
      "  ends        {} ({}, then {})\n"
      "  granted by  {} on {}\n"
      "  reason      {}\n",
      text(grant, "id"), subject_of(grant), gpus_of(grant) == "all" ? "all GPUs" : "GPU " + gpus_of(grant),
      text(grant, "expires_at"), state_of(grant), text(grant, "on_expiry"), text(at(grant, "granted_by"), "name"),
      text(grant, "created_at"), text(grant, "reason"));
}

std::string denials_view(const json::array& denials, const TableStyle& style) {
  Table table{{"USER", "CLASS", "HOOK", "DENIED", "WOULD DENY", "FIRST", "LAST"}, {}, std::nullopt};
  for (const auto& row : denials)
    table.rows.push_back({text(row, "user"), text(row, "class"), text(row, "hook"), text(row, "count"),
                          text(row, "would_deny_count"), text(row, "first_at"), text(row, "last_at")});
  return render(table, style);
}

std::string mode_view(const json::value& modes) {
  std::string out;
  for (const auto& gate : modes.as_object()) {
    out += fmt::format("{}: {}", harmless(gate.key()), text(gate.value(), "mode"));
    if (text(gate.value(), "until") != "-") out += fmt::format(" until {}", text(gate.value(), "until"));
    if (text(gate.value(), "mode") != text(gate.value(), "configured_mode"))
      out += fmt::format(" (configured: {})", text(gate.value(), "configured_mode"));
    out += "\n";
  }
  return out;
}

std::string status_view(const json::value& status) {
  std::string out;
  const bool attached = text(status, "attached") == "true";
  out += attached ? fmt::format("enforcing with {}", text(status, "backend"))
                  : fmt::format("NOT ENFORCING: {}", text(status, "reason"));
  out += fmt::format(", ds01d {}, since {}\n", text(status, "version"), text(status, "started_at"));
  out += mode_view(at(status, "gates"));
  out += fmt::format("grants: {}   denied: {}   would deny: {}\n", text(status, "grants_active"),
                     text(status, "denials_total"), text(status, "would_deny_total"));
  out += fmt::format("events lost: {}   not logged (user's limit): {}   recursion misses: {}   audit lines lost: {}\n",
                     text(status, "events_lost_total"), text(status, "events_limited_total"),
                     text(status, "recursion_misses_total"), text(status, "audit_lines_lost_total"));
  return out;
}

std::string whoami_view(const json::value& caller) {
  auto out = fmt::format("{} (uid {}): GPU access on this host is {}: {}\n", text(caller, "user"), text(caller, "uid"),
                         text(caller, "access"), text(caller, "why"));
  if (at(caller, "grant").is_object()) out += grant_view(at(caller, "grant"));
  return out;
}

}  // namespace ds01::ctl
