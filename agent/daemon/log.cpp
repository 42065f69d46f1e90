// SPDX-License-Identifier: Apache-2.0
#include "daemon/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ds01::daemon::log {

void start() {
  spdlog::set_default_logger(spdlog::stderr_logger_st("ds01d"));
  spdlog::set_pattern("%n: %l: %v");
}

void info(std::string_view text) { spdlog::info("{}", text); }
void warn(std::string_view text) { spdlog::warn("{}", text); }
void error(std::string_view text) { spdlog::error("{}", text); }
void critical(std::string_view text) { spdlog::critical("{}", text); }

}  // namespace ds01::daemon::log
