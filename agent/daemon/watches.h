// SPDX-License-Identifier: Apache-2.0
// Descriptors that become readable when something changed that no timer can foresee.
#pragma once

#include <filesystem>

#include "core/fd.h"
#include "core/result.h"

namespace ds01::daemon {

// The wall clock was set (by hand, by NTP, after a suspend). Small corrections that only slow it down or speed it up do
// not count: they move the boot clock as well.
Result<Fd> watch_clock();
void rearm_clock_watch(int fd);

// The files passwd or group in `folder` were replaced or written.
Result<Fd> watch_accounts(const std::filesystem::path& folder);
// Reads what is there; whether it was about one of the two.
bool drain_accounts_watch(int fd);

}  // namespace ds01::daemon
