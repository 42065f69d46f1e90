// SPDX-License-Identifier: Apache-2.0
#include "grants/warnings.h"

#include <algorithm>

namespace ds01::grants {
namespace {

using std::chrono::seconds;

// Those still to come for this grant, the longest first. A grant that is shorter than every configured one is announced
// at half of its term.
Leads leads_of(const Grant& grant, const Leads& configured) {
  Leads leads;
  if (grant.state != State::active || std::holds_alternative<Never>(grant.end)) return leads;
  for (const auto lead : configured)
    if (lead < grant.term) leads.push_back(lead);
  if (leads.empty() && !configured.empty()) leads.push_back(grant.term / 2);
  std::erase_if(leads, [&](seconds lead) { return lead <= seconds(0) || (grant.warned && lead >= *grant.warned); });
  std::ranges::sort(leads, std::greater());
  return leads;
}

}  // namespace

End next_warning(const Grant& grant, const Leads& configured) {
  const auto leads = leads_of(grant, configured);
  return leads.empty() ? End(Never{}) : shifted(grant.end, -leads.front());
}

std::optional<seconds> due_warning(const Grant& grant, const Leads& configured, const Clock& clock) {
  const auto left = time_left(grant.end, clock);
  std::optional<seconds> due;
  for (const auto lead : leads_of(grant, configured))
    if (left && *left <= lead) due = lead;
  return due;
}

}  // namespace ds01::grants
