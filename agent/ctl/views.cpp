// SPDX-License-Identifier: Apache-2.0
#include "ctl/views.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "core/clock.h"
#include "core/files.h"

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

std::string caps_of(const json::value& grant) {
  std::vector<std::string> names;
  if (const auto* caps = at(grant, "caps").if_array())
    for (const auto& cap : *caps)
      if (cap.is_string()) names.push_back(harmless(std::string(cap.as_string())));
  return fmt::format("{}", fmt::join(names, ","));
}

std::string scope_of(const json::value& holder) {
  const auto gpus = gpus_of(holder);
  const auto caps = caps_of(holder);
  return (gpus == "all" ? "all GPUs" : "GPU " + gpus) + (caps.empty() ? "" : " and " + caps);
}

// The same for a column.
std::string short_scope_of(const json::value& grant) {
  const auto caps = caps_of(grant);
  return gpus_of(grant) + (caps.empty() ? "" : "," + caps);
}

std::string span_of(const json::value& value, std::string_view key) {
  const auto& span = at(value, key);
  return span.is_int64() ? format_duration(std::chrono::seconds(span.as_int64())) : "-";
}

std::string footer(std::size_t count, std::string_view what) {
  return fmt::format("\n{} {}{}\n", count, what, count == 1 ? "" : "s");
}

std::string left_of(const json::value& grant) {
  const auto& left = at(grant, "remaining_s");
  return left.is_int64() ? format_duration(std::chrono::seconds(left.as_int64())) : "permanent";
}

std::string state_of(const json::value& grant) {
  return text(grant, "state") == "active" ? left_of(grant) : text(grant, "state");
}

// Lines of the status that are there only when they have something to say.
std::string store_line(const json::value& status) {
  const auto& store = at(status, "store");
  return text(store, "ok") == "false" ? fmt::format("STORE BROKEN: {}\n", text(store, "error")) : "";
}

std::string names_of(const json::value& value, std::string_view key) {
  std::vector<std::string> names;
  if (const auto* list = at(value, key).if_array())
    for (const auto& name : *list)
      if (name.is_string()) names.push_back(harmless(std::string(name.as_string())));
  return fmt::format("{}", fmt::join(names, ","));
}

std::string backend_lines(const json::value& status) {
  std::string out;
  if (const auto why = text(status, "backend_reason"); !why.empty() && why != "-")
    out += fmt::format("no better backend: {}\n", why);
  if (const auto hooks = names_of(status, "best_effort_hooks"); !hooks.empty())
    out += fmt::format("best effort: {} (the kernel skips a program that was preempted)\n", hooks);
  if (const auto hooks = names_of(status, "missing_hooks"); !hooks.empty())
    out += fmt::format("NOT GATED: {}\n", hooks);
  if (const auto count = text(status, "recursion_misses_total"); count != "0" && count != "-")
    out += fmt::format("HOLE IN THE GATE: the kernel skipped its programs {} times; see the log\n", count);
  return out;
}

std::string suspended(const json::value& status) {
  const auto count = text(status, "grants_suspended");
  return count == "0" || count == "-" ? "" : fmt::format("   suspended: {}", count);
}

std::string waiting_line(const json::value& status) {
  const auto count = text(status, "requests_pending");
  if (count == "0" || count == "-") return "";
  return fmt::format("{} request{}: ds01ctl requests\n", count, count == "1" ? " waits" : "s wait");
}

}  // namespace

std::string grants_view(const json::array& grants, const TableStyle& style) {
  Table table{{"ID", "SUBJECT", "GPUS", "LEFT", "ENDS", "BY", "REASON"}, {}, 6};
  for (const auto& grant : grants)
    table.rows.push_back({text(grant, "id"), subject_of(grant), short_scope_of(grant), state_of(grant),
                          text(grant, "expires_at"), text(at(grant, "granted_by"), "name"), text(grant, "reason")});
  auto out = render(table, style);
  if (style.legend) out += footer(grants.size(), "grant");
  return out;
}

std::string grant_view(const json::value& grant) {
  return fmt::format(
      "{}: {} may use {}\n"
      "  ends        {} ({}, then {})\n"
      "  granted by  {} on {}\n"
      "  reason      {}\n",
      text(grant, "id"), subject_of(grant), scope_of(grant), text(grant, "expires_at"), state_of(grant),
      text(grant, "on_expiry"), text(at(grant, "granted_by"), "name"), text(grant, "created_at"),
      text(grant, "reason"));
}

std::string history_view(const json::array& grants, const TableStyle& style) {
  Table table{{"ID", "SUBJECT", "GPUS", "GRANTED", "LASTED", "ENDED", "HOW", "BY", "REASON"}, {}, 8};
  for (const auto& grant : grants) {
    auto how = text(grant, "how");
    if (at(grant, "ended_by").is_object()) how += " by " + text(at(grant, "ended_by"), "name");
    if (const auto why = text(grant, "end_reason"); !why.empty() && why != "-") how += ": " + why;
    table.rows.push_back({text(grant, "id"), subject_of(grant), short_scope_of(grant), text(grant, "created_at"),
                          span_of(grant, "lasted_s"), text(grant, "ended_at"), how,
                          text(at(grant, "granted_by"), "name"), text(grant, "reason")});
  }
  auto out = render(table, style);
  if (style.legend) out += footer(grants.size(), "grant");
  return out;
}

std::string requests_view(const json::array& requests, const TableStyle& style) {
  Table table{{"ID", "USER", "FOR", "GPUS", "ASKED", "LAPSES", "STATE", "REASON"}, {}, 7};
  for (const auto& request : requests)
    table.rows.push_back({text(request, "id"), text(at(request, "user"), "name"), span_of(request, "duration_s"),
                          text(request, "gpus"), text(request, "created_at"), text(request, "lapses_at"),
                          text(request, "state"), text(request, "reason")});
  auto out = render(table, style);
  if (style.legend) out += footer(requests.size(), "request");
  return out;
}

std::string request_view(const json::value& request) {
  if (at(request, "grant").is_object()) return grant_view(at(request, "grant"));
  const auto asked = fmt::format("asked for {} on {}", span_of(request, "duration_s"), scope_of(request));
  const auto state = text(request, "state");
  if (state == "pending") return fmt::format("{}: {}; an admin has to approve it\n", text(request, "id"), asked);
  return fmt::format("{}: {} {}, {}: {}\n", text(request, "id"), text(at(request, "user"), "name"), asked, state,
                     text(request, "answer"));
}

// A notice has one or more lines.
std::string notices_view(const json::array& notices) {
  std::string out;
  for (const auto& notice : notices) {
    const auto& words = at(notice, "text");
    const std::string lines(words.is_string() ? words.as_string() : "");
    auto mark = text(notice, "time") + " ";
    for (const auto line : split(lines, '\n')) {
      out += mark + harmless(line) + "\n";
      mark.assign(2, ' ');
    }
  }
  return out;
}

std::string denials_view(const json::array& denials, const TableStyle& style) {
  Table table{{"USER", "CLASS", "HOOK", "DENIED", "WOULD DENY", "FIRST", "LAST"}, {}, std::nullopt};
  for (const auto& row : denials)
    table.rows.push_back({text(row, "user"), text(row, "class"), text(row, "hook"), text(row, "count"),
                          text(row, "would_deny_count"), text(row, "first_at"), text(row, "last_at")});
  return render(table, style);
}

std::string holders_view(const json::array& holders, const TableStyle& style) {
  Table table{{"PID", "COMMAND", "USER", "DEVICES", "FDS", "MAPS", "SINCE", "OPEN NOW", "GRANT", "CGROUP"}, {}, 9};
  for (const auto& holder : holders) {
    const auto now = text(holder, "allowed") == "true" ? "allowed" : "denied";
    table.rows.push_back({text(holder, "pid"), text(holder, "comm"), text(holder, "user"), names_of(holder, "devices"),
                          text(holder, "fds"), text(holder, "maps"), text(holder, "since"),
                          fmt::format("{}: {}", now, text(holder, "why")), text(holder, "grant_id"),
                          text(holder, "cgroup")});
  }
  auto out = render(table, style);
  if (style.legend) out += fmt::format("\n{} process{}\n", holders.size(), holders.size() == 1 ? "" : "es");
  return out;
}

std::string layer_line(const json::value& layer) {
  auto name = text(layer, "layer");
  auto verdict = text(layer, "verdict");
  std::ranges::replace(name, '_', ' ');
  std::ranges::replace(verdict, '_', ' ');
  return fmt::format("  {:<13} {}: {}\n", name, verdict, text(layer, "why"));
}

// The layer that decides comes first.
std::string explain_view(const json::value& e) {
  const auto& device = at(e, "device");
  const auto who = text(e, "pid") == "-"
                       ? text(e, "user")
                       : fmt::format("{} ({}, pid {})", text(e, "user"), text(e, "comm"), text(e, "pid"));
  auto out = fmt::format("{} {} open {}: {}\n", who, text(e, "allowed") == "true" ? "may" : "may not",
                         text(device, "name"), text(e, "why"));
  std::string others;
  if (const auto* layers = at(e, "layers").if_array())
    for (const auto& layer : *layers)
      (text(layer, "layer") == text(e, "decided_by") ? out : others) += layer_line(layer);
  out += others;
  if (text(device, "rule") != "-") out += fmt::format("  {:<13} {}\n", "gated by", text(device, "rule"));
  if (const auto next = text(e, "next"); !next.empty() && next != "-") out += "next: " + next + "\n";
  return out;
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
  if (attached) out += backend_lines(status);
  out += store_line(status);
  out += fmt::format("grants: {}{}   denied: {}   would deny: {}\n", text(status, "grants_active"), suspended(status),
                     text(status, "denials_total"), text(status, "would_deny_total"));
  out += fmt::format("events lost: {}   not logged (user's limit): {}   recursion misses: {}   audit lines lost: {}\n",
                     text(status, "events_lost_total"), text(status, "events_limited_total"),
                     text(status, "recursion_misses_total"), text(status, "audit_lines_lost_total"));
  out += waiting_line(status);
  return out;
}

std::string whoami_view(const json::value& caller) {
  auto out = fmt::format("{} (uid {}): GPU access on this host is {}: {}\n", text(caller, "user"), text(caller, "uid"),
                         text(caller, "access"), text(caller, "why"));
  if (at(caller, "grant").is_object()) out += grant_view(at(caller, "grant"));
  return out;
}

}  // namespace ds01::ctl
