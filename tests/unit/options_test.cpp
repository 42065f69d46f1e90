// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ds01::daemon {
namespace {

using Action = Options::Action;

Result<Options> parse(std::vector<std::string> arguments, const char* runtime = nullptr) {
  arguments.insert(arguments.begin(), "ds01d");
  std::vector<char*> pointers;
  for (auto& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  return parse_options(static_cast<int>(arguments.size()), pointers.data(), runtime);
}

TEST(ParseOptions, NothingGivenIsTheInstalledPlaces) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->action, Action::run);
  EXPECT_EQ(options->config, "/etc/ds01/agent.yaml");
  EXPECT_EQ(options->runtime, "/run/ds01");
}

struct Good {
  std::vector<std::string> arguments;
  Action action;
  std::string config;
};

TEST(ParseOptions, OptionsKnownAreTaken) {
  const Good table[] = {
      {{"--config", "x.yaml"}, Action::run, "x.yaml"},
      {{"--config=x.yaml"}, Action::run, "x.yaml"},
      {{"--config=a", "--config=b"}, Action::run, "b"},
      {{"--check-config", "x.yaml"}, Action::check_config, "x.yaml"},
      {{"--version"}, Action::version, "/etc/ds01/agent.yaml"},
      {{"--help"}, Action::help, "/etc/ds01/agent.yaml"},
      {{"--"}, Action::run, "/etc/ds01/agent.yaml"},
  };
  for (const auto& [arguments, action, config] : table) {
    const auto options = parse(arguments);
    ASSERT_TRUE(options) << arguments[0];
    EXPECT_EQ(options->action, action) << arguments[0];
    EXPECT_EQ(options->config, config) << arguments[0];
  }
}

TEST(ParseOptions, RuntimeFolderFromTheEnvironment) {
  EXPECT_EQ(parse({}, "/tmp/x")->runtime, "/tmp/x");
  EXPECT_EQ(parse({}, "")->runtime, "/run/ds01");
}

struct Bad {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(ParseOptions, EverythingElseIsNamedAndRefused) {
  const Bad table[] = {
      {{"--nonsense"}, "unknown option --nonsense"},
      {{"-x"}, "unknown option -x"},
      {{"-xy"}, "unknown option -xy"},
      {{"--config", "a", "-xy"}, "unknown option -xy"},
      {{"--version=1"}, "unknown option --version=1"},
      {{"--config"}, "--config needs a value"},
      {{"--check-config"}, "--check-config needs a value"},
      {{"stray"}, "unexpected argument stray"},
      {{"stray", "--version"}, "unexpected argument stray"},
      {{"--", "--version"}, "unexpected argument --version"},
      {{""}, "unexpected argument "},
  };
  for (const auto& [arguments, message] : table) {
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << message;
    EXPECT_EQ(options.error().code, ErrorCode::invalid);
    EXPECT_EQ(options.error().message, message);
  }
}

TEST(Usage, EveryOptionIsThere) {
  for (const auto* option : {"--config", "--check-config", "--version", "--help"})
    EXPECT_THAT(usage(), ::testing::HasSubstr(option));
}

}  // namespace
}  // namespace ds01::daemon
