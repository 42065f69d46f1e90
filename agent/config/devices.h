// SPDX-License-Identifier: Apache-2.0
// The `devices:` key: which device nodes are gated, as which class.
#pragma once

#include <vector>

#include "config/config.h"
#include "config/value.h"
#include "core/result.h"

namespace ds01::config {

// At least one rule, no two of which claim the same node. Rules that would stop the machine (terminals, /dev/null) are
// refused.
Result<std::vector<DeviceRule>> read_devices(const Value& value);

}  // namespace ds01::config
