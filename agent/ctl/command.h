// SPDX-License-Identifier: Apache-2.0
// What the files with the commands share: how a command is declared, asks the agent and prints.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json/fwd.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "ctl/commands.h"

namespace ds01::ctl {

class CommandSet {
 public:
  CommandSet(CLI::App& app, Context& context, std::optional<Status>& outcome)
      : app_(app), context_(context), outcome_(outcome) {}

  // The options of one command live as long as the App that refers to them.
  template <class Options>
  void add(const char* name, const char* description, void (*declare)(CLI::App&, Options&),
           Status (*run)(const Context&, const Options&)) {
    auto* command = app_.add_subcommand(name, description);
    auto options = std::make_shared<Options>();
    declare(*command, *options);
    command->callback([&context = context_, &outcome = outcome_, options, run] { outcome = run(context, *options); });
  }

 private:
  CLI::App& app_;
  Context& context_;
  std::optional<Status>& outcome_;
};

void add_answer_commands(CommandSet& commands);
void add_grant_commands(CommandSet& commands);
void add_request_commands(CommandSet& commands);
void add_status_commands(CommandSet& commands);
void add_whoami_command(CommandSet& commands);

// Data goes to stdout in the form asked for; `view` makes the one for people.
void print(const Context& context, const boost::json::value& value, const std::function<std::string()>& view);

struct Query {
  std::string text;
  void add(std::string_view key, const std::string& value);  // unless it is empty
  Status add_time(std::string_view key, const std::string& value);
};

// A list of the API: all pages of it, or with a limit the first so many.
Result<boost::json::array> fetch_list(const Context& context, const std::string& path, const Query& query,
                                      std::size_t limit);

// {"duration_s": …} in `body`, unless the text is empty.
Status add_duration(boost::json::object& body, const std::string& text);

}  // namespace ds01::ctl
