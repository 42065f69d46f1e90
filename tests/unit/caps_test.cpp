// SPDX-License-Identifier: Apache-2.0
// Capability nodes by name.
#include "devices/caps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ds01/abi.h"
#include "fakes.h"

namespace ds01::devices {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ParseCap, NameIsFamilyAndMinor) {
  EXPECT_EQ(parse_cap("nvidia-cap30"), DS01_DEV(DS01_CAPS_NVIDIA, 30U));
  EXPECT_EQ(parse_cap("nvidia-cap0"), DS01_DEV(DS01_CAPS_NVIDIA, 0U));
  EXPECT_EQ(parse_cap("imex-channel2047"), DS01_DEV(DS01_CAPS_IMEX, 2047U));
  EXPECT_EQ(parse_cap("nvidia-cap1048575"), DS01_DEV(DS01_CAPS_NVIDIA, DS01_MINOR_MASK));
}

TEST(ParseCap, OtherNamesAreNone) {
  for (const auto* name : {"", "nvidia-cap", "nvidia-cap-1", "nvidia-cap1048576", "nvidia-cap4294967297", "nvidia-capx",
                           "Nvidia-cap1", "imex-channel", "imex-channel 1", "channel1", "nvidia-caps1", "30"})
    EXPECT_EQ(parse_cap(name), std::nullopt) << name;
}

TEST(CapName, IsReadBack) {
  for (const auto* name : {"nvidia-cap0", "nvidia-cap30", "imex-channel7"}) EXPECT_EQ(cap_name(*parse_cap(name)), name);
  EXPECT_EQ(cap_name(*parse_cap("nvidia-cap030")), "nvidia-cap30");
}

TEST(ListCaps, NamesAreThoseOfAllFiles) {
  const fake::Folder proc;
  proc.write("driver/nvidia-caps/mig-minors", "config 1\nmonitor 2\ngpu0/gi1/access 30\n");
  proc.write("driver/nvidia-caps/sys-minors", "fabric-imex-mgmt 4321\n");
  proc.write("driver/nvidia-caps/readme", "gpu0 5\n");
  EXPECT_THAT(list_caps(proc.path()), ElementsAre(Pair("mig/config", 1), Pair("mig/gpu0/gi1/access", 30),
                                                  Pair("mig/monitor", 2), Pair("sys/fabric-imex-mgmt", 4321)));
}

TEST(ListCaps, LinesMalformedAreSkipped) {
  const fake::Folder proc;
  proc.write("driver/nvidia-caps/mig-minors", "\nconfig\nmonitor x\naccess 1048576\n 7\n");
  EXPECT_THAT(list_caps(proc.path()), IsEmpty());
}

TEST(ListCaps, WithoutTheDriverThereAreNone) { EXPECT_THAT(list_caps(fake::Folder().path()), IsEmpty()); }

}  // namespace
}  // namespace ds01::devices
