// SPDX-License-Identifier: Apache-2.0
// The commands of ds01ctl. Each declares its arguments and makes one request.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "core/result.h"
#include "ctl/client.h"
#include "ctl/table.h"

namespace ds01::ctl {

// What every command needs once the command line is read.
struct Context {
  Client client;
  bool json = false;
  TableStyle style;
};

// Adds all commands to `app`. The one that is called leaves its outcome in `outcome`.
void add_commands(CLI::App& app, Context& context, std::optional<Status>& outcome);

}  // namespace ds01::ctl
