// SPDX-License-Identifier: Apache-2.0
// The mode set by hand, on disk. For enforcer/.
#pragma once

#include <optional>

#include "enforcer/enforcer.h"

namespace ds01::enforcer {

// None: no override, or one that is over.
Result<std::optional<Override>> load_override(database::Database& database, const Clock& clock);
Status store_override(database::Database& database, const std::optional<Override>& mode, const Clock& clock);

}  // namespace ds01::enforcer
