// SPDX-License-Identifier: Apache-2.0
// One agent at a time on a store.
#pragma once

#include <filesystem>

#include "core/fd.h"
#include "core/result.h"

namespace ds01::daemon {

// Held as long as the descriptor. Another agent that lives is ErrorCode::conflict. Where there is no folder and none
// can be made, there is nothing to lock, and the descriptor is empty.
Result<Fd> lock_store(const std::filesystem::path& folder);

}  // namespace ds01::daemon
