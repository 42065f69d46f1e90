// SPDX-License-Identifier: Apache-2.0
// ds01d put together: owns every part and the one thread they run on.
#pragma once

#include "core/result.h"
#include "daemon/options.h"

namespace ds01::daemon {

// Runs until SIGTERM or SIGINT. An error means that it could not start (or go on); a kernel side that cannot be attached is
// none: then it serves agent.sock, says why, and is never ready.
Status run(const Options& options);

}  // namespace ds01::daemon
