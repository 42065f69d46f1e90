// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.h"

#include <getopt.h>

#include <fmt/format.h>

namespace ds01::daemon {

std::string usage() {
  return "usage: ds01d [--config FILE]\n"
         "       ds01d --check-config FILE    say what is wrong with FILE and exit: 0 valid, 1 not\n"
         "       ds01d --self-test            can this kernel run the gate? 0 yes, 1 no, with the reason\n"
         "       ds01d --detach               take the gate off the kernel, once no ds01d runs; nothing is gated then\n"
         "       ds01d --version | --help\n";
}

Result<Options> parse_options(int argc, char** argv, const char* runtime_dir) {
  static constexpr option kLong[] = {
      {"config", required_argument, nullptr, 'c'},
      {"check-config", required_argument, nullptr, 'C'},
      {"self-test", no_argument, nullptr, 's'},
      {"detach", no_argument, nullptr, 'd'},
      {"version", no_argument, nullptr, 'v'},
      {"help", no_argument, nullptr, 'h'},
      {nullptr, 0, nullptr, 0},
  };
  Options options;
  if (runtime_dir != nullptr && *runtime_dir != '\0') options.runtime = runtime_dir;
  ::opterr = 0;
  ::optind = 0;  // glibc: start over, also in the middle of an argument
  // '+': arguments keep their order, so the one that is read next can be named.
  for (int choice, at = 1; (choice = ::getopt_long(argc, argv, "+:", kLong, nullptr)) != -1; at = ::optind) {
    switch (choice) {
      case 'c': options.config = ::optarg; break;
      case 'C':
        options.config = ::optarg;
        options.action = Options::Action::check_config;
        break;
      case 's': options.action = Options::Action::self_test; break;
      case 'd': options.action = Options::Action::detach; break;
      case 'v': options.action = Options::Action::version; break;
      case 'h': options.action = Options::Action::help; break;
      case ':': return fail(ErrorCode::invalid, fmt::format("{} needs a value", argv[at]));
      default: return fail(ErrorCode::invalid, fmt::format("unknown option {}", argv[at]));
    }
  }
  if (::optind < argc) return fail(ErrorCode::invalid, fmt::format("unexpected argument {}", argv[::optind]));
  return options;
}

}  // namespace ds01::daemon
