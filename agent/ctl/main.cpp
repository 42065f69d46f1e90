// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "core/paths.h"
#include "ctl/commands.h"
#include "http/http.h"

namespace {

using ds01::Error;
using ds01::ErrorCode;

// The contract's exit codes: 1 refused or denied, 2 usage, 3 agent unreachable, 4 not found.
int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid: return 2;
    case ErrorCode::unavailable: return 3;
    case ErrorCode::not_found: return 4;
    default: return 1;
  }
}

int report(const Error& error, bool json) {
  if (json) {
    const boost::json::object line{
        {"error", {{"code", ds01::http::code_name(error.code)}, {"message", error.message}}}};
    fmt::print(stderr, "{}\n", boost::json::serialize(line));
  } else {
    fmt::print(stderr, "ds01ctl: {}\n", error.message);
  }
  return exit_code(error.code);
}

ds01::ctl::TableStyle terminal_style() {
  ds01::ctl::TableStyle style;
  if (::isatty(STDOUT_FILENO) == 0) return style;
  style.bold = std::getenv("NO_COLOR") == nullptr;
  winsize size = {};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) style.width = size.ws_col;
  return style;
}

std::filesystem::path runtime_folder() {
  const char* folder = std::getenv("DS01_RUNTIME_DIR");
  return folder != nullptr && *folder != '\0' ? folder : ds01::paths::kRuntime;
}

}  // namespace

int main(int argc, char** argv) {
  ds01::ctl::Context context{ds01::ctl::Client(runtime_folder()), false, terminal_style()};
  std::optional<ds01::Status> outcome;
  std::string output = "table";

  CLI::App app("Access to the GPUs of this host", "ds01ctl");
  app.set_version_flag("--version", "ds01ctl " DS01_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("-o,--output", output, "table or json")->check(CLI::IsMember({"table", "json"}));
  app.add_flag_callback("--no-legend", [&] { context.style.legend = false; }, "no header and no footer in tables");
  app.parse_complete_callback([&] { context.json = output == "json"; });
  ds01::ctl::add_commands(app, context, outcome);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return report({ErrorCode::invalid, fmt::format("{}; see ds01ctl --help", error.what())}, output == "json");
  }
  if (outcome && !*outcome) return report(outcome->error(), context.json);
  return 0;
}
