// SPDX-License-Identifier: Apache-2.0
#include "control/metrics.h"

#include <array>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "devices/devices.h"

namespace ds01::control {
namespace {

std::string metric(std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
  return fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n{0} {3}\n", name, type, help, value);
}

std::string decisions(const std::vector<kernel::Count>& counts) {
  constexpr std::array kVerdicts{"allowed", "denied", "would_deny"};
  std::map<std::tuple<std::uint16_t, std::uint16_t, std::size_t>, std::uint64_t> sums;
  for (const auto& row : counts)
    for (std::size_t verdict = 0; verdict < kVerdicts.size(); ++verdict)
      if (row.key.device_class != DS01_CLASS_SELFTEST)
        sums[{row.key.device_class, row.key.hook, verdict}] += row.value.verdicts[verdict];
  std::string text = "# HELP ds01_decisions_total Decisions of the kernel side.\n# TYPE ds01_decisions_total counter\n";
  for (const auto& [key, value] : sums)
    text += fmt::format("ds01_decisions_total{{class=\"{}\",hook=\"{}\",verdict=\"{}\"}} {}\n",
                        devices::class_name(std::get<0>(key)), devices::hook_name(std::get<1>(key)),
                        kVerdicts[std::get<2>(key)], value);
  return text;
}

}  // namespace

std::string metrics_text(const MetricsInput& input) {
  std::string text = decisions(input.counts);
  text += metric("ds01_attached", "gauge", "1 while the kernel side is attached.", input.attached ? 1 : 0);
  if (!input.backend.empty())
    text += fmt::format(
        "# HELP ds01_backend How the kernel asks.\n# TYPE ds01_backend gauge\nds01_backend{{backend=\"{}\"}} 1\n",
        input.backend);
  text += metric("ds01_mode", "gauge", "Mode of the gpu gate: 0 disabled, 1 monitoring, 2 full.",
                 static_cast<std::uint64_t>(input.mode));
  text += metric("ds01_grants_active", "gauge", "Grants in force.", input.grants_active);
  text += metric("ds01_grants_suspended", "gauge", "Grants that wait for their account to come back.",
                 input.grants_suspended);
  text += metric("ds01_requests_pending", "gauge", "Requests that wait for an admin.", input.requests_pending);
  text += metric("ds01_store_ok", "gauge", "1 while the store of grants can be used.", input.store_ok ? 1 : 0);
  text += metric("ds01_events_lost_total", "counter", "Denials not logged because the event ring was full.",
                 input.losses[DS01_LOST_EVENTS]);
  text += metric("ds01_events_limited_total", "counter", "Denials not logged because the user's bucket was empty.",
                 input.losses[DS01_LIMITED_EVENTS]);
  text += metric("ds01_unattributed_total", "counter", "Decisions counted without a user: the count map was full.",
                 input.losses[DS01_UNATTRIBUTED]);
  text += metric("ds01_recursion_misses_total", "counter",
                 "Programs the kernel skipped; above zero is a hole in the gate.", input.recursion_misses);
  text +=
      metric("ds01_audit_lines_lost_total", "counter", "Audit lines that a sink did not take.", input.audit_lines_lost);
  return text;
}

}  // namespace ds01::control
