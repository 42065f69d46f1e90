// SPDX-License-Identifier: Apache-2.0
// The words of agent.yaml for the values of its enums.
#include <gtest/gtest.h>

#include <optional>

#include "config/config.h"

namespace ds01::config {
namespace {

TEST(Words, AreReadBack) {
  for (const auto mode : {Mode::disabled, Mode::monitoring, Mode::full}) EXPECT_EQ(parse_mode(to_string(mode)), mode);
  for (const auto action : {OnExpiry::soft, OnExpiry::cut, OnExpiry::kill})
    EXPECT_EQ(parse_on_expiry(to_string(action)), action);
  using enum DeviceClass;
  for (const auto device_class : {gpu, control, compute, capability, fabric, dri})
    EXPECT_EQ(parse_device_class(to_string(device_class)), device_class);
}

TEST(Words, UnknownOnesAreNone) {
  EXPECT_EQ(parse_mode("Full"), std::nullopt);
  EXPECT_EQ(parse_on_expiry(""), std::nullopt);
  EXPECT_EQ(parse_device_class("gpu "), std::nullopt);
}

}  // namespace
}  // namespace ds01::config
