// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/options.h"

namespace {

int report(const ds01::Error& error, int code) {
  fmt::print(stderr, "ds01d: {}\n", error.message);
  return code;
}

int check_config(const ds01::daemon::Options& options) {
  const auto config = ds01::config::load(options.config);
  if (!config) return report(config.error(), 1);
  fmt::print("{}: valid\n", options.config.string());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using Action = ds01::daemon::Options::Action;
  const auto options = ds01::daemon::parse_options(argc, argv, std::getenv("DS01_RUNTIME_DIR"));
  if (!options) return report(options.error(), 2);
  switch (options->action) {
    case Action::help: fmt::print("{}", ds01::daemon::usage()); return 0;
    case Action::version: fmt::print("ds01d {}\n", DS01_VERSION); return 0;
    case Action::check_config: return check_config(*options);
    case Action::self_test: {
      const auto proven = ds01::daemon::self_test();
      return proven ? 0 : report(proven.error(), 1);
    }
    case Action::detach: {
      const auto detached = ds01::daemon::detach();
      return detached ? 0 : report(detached.error(), 1);
    }
    case Action::run: break;
  }
  ds01::daemon::log::start();
  const auto status = ds01::daemon::run(*options);
  return status ? 0 : report(status.error(), 1);
}
