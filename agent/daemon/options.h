// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "core/paths.h"
#include "core/result.h"

namespace ds01::daemon {

struct Options {
  enum class Action { run, check_config, self_test, detach, version, help };
  Action action = Action::run;
  std::filesystem::path config = paths::kConfig;
  std::filesystem::path database = paths::kDatabase;
  std::filesystem::path runtime = paths::kRuntime;  // the folder of the sockets: DS01_RUNTIME_DIR
};

// Reads the command line and DS01_RUNTIME_DIR. Anything unknown is ErrorCode::invalid.
Result<Options> parse_options(int argc, char** argv, const char* runtime_dir);

std::string usage();

}  // namespace ds01::daemon
