// SPDX-License-Identifier: Apache-2.0
// The daemon's own log: what an admin reads in the journal about the agent itself. spdlog stays behind this header.
#pragma once

#include <string_view>

namespace ds01::daemon::log {

// Lines go to stderr, which systemd takes to the journal.
void start();

void info(std::string_view text);
void warn(std::string_view text);
void error(std::string_view text);
void critical(std::string_view text);

}  // namespace ds01::daemon::log
