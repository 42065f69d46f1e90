// SPDX-License-Identifier: Apache-2.0
// ds01d put together: owns every part and the one thread they run on.
#pragma once

#include "core/result.h"
#include "daemon/options.h"

namespace ds01::daemon {

// Runs until SIGTERM or SIGINT. An error means that it could not start (or go on); a kernel side that cannot be
// attached is none: then it serves agent.sock, says why, and is never ready.
Status run(const Options& options);

// Loads and attaches the programs with no rules, has them deny this thread once, and takes them out again. Nobody else
// is denied anything meanwhile. An error says why the kernel cannot run the gate.
Status self_test();

// Takes the gate off the kernel: removes the pins that outlive the agent. An agent that runs is an error.
Status detach();

}  // namespace ds01::daemon
