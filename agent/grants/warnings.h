// SPDX-License-Identifier: Apache-2.0
// Which warning before the end of a grant comes next. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "core/deadline.h"
#include "grants/grant.h"

namespace ds01::grants {

// How long before its end a grant is announced to end, as configured; none: no warnings.
using Leads = std::vector<std::chrono::seconds>;

// When the next warning is due; Never when all were given, or none is to be.
End next_warning(const Grant& grant, const Leads& leads);
// The warning that is due now: of several that were missed the one nearest to the end. None: not yet.
std::optional<std::chrono::seconds> due_warning(const Grant& grant, const Leads& leads, const Clock& clock);

}  // namespace ds01::grants
