// SPDX-License-Identifier: Apache-2.0
// The kernel's device events, so that a driver that loads and gets a new major is gated.
#pragma once

#include "core/fd.h"
#include "core/result.h"

namespace ds01::daemon {

// A non-blocking socket that receives kernel uevents.
Result<Fd> open_uevents();

// Reads all that wait. True if a module or a character device may have come or gone, or events were lost.
bool drain_uevents(int fd);

}  // namespace ds01::daemon
