// SPDX-License-Identifier: Apache-2.0
// The text of GET /metrics, in Prometheus' exposition format. Anybody may read it, so it names no user.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "kernel/gate.h"

namespace ds01::control {

struct MetricsInput {
  const std::vector<kernel::Count>& counts;
  kernel::Losses losses;
  std::uint64_t recursion_misses;
  bool attached;
  config::Mode mode;
  std::size_t grants_active;
  std::size_t grants_suspended;
  std::size_t requests_pending;
  bool store_ok;
  std::uint64_t audit_lines_lost;
  std::string_view backend;  // "" while not attached
};
std::string metrics_text(const MetricsInput& input);

}  // namespace ds01::control
