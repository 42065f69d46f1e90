// SPDX-License-Identifier: Apache-2.0
// Which of the kernel's events make the agent look at the devices again.
#include "daemon/uevents.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

namespace ds01::daemon {
namespace {

class UeventsTest : public ::testing::Test {
 protected:
  UeventsTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    agent_ = Fd(ends[0]);
    kernel_ = Fd(ends[1]);
  }
  void send(const std::string& event) {
    ASSERT_EQ(::write(kernel_.get(), event.data(), event.size()), static_cast<ssize_t>(event.size()));
  }

  Fd agent_;
  Fd kernel_;
};

TEST_F(UeventsTest, DevicesThatComeAndGoConcernUs) {
  for (const auto* event :
       {"add@/module/nvidia_uvm", "remove@/module/nvidia_uvm", "add@/devices/pci0000:00/0000:01:00.0/drm/card0",
        "remove@/devices/pci0000:00/0000:01:00.0/drm/renderD128", "bind@/devices/pci0000:00/0000:01:00.0",
        "add@/devices/pci0000:00/0000:00:0b.0/accel/accel0", "add@/devices/virtual/nvidia-caps/nvidia-cap1"}) {
    send(std::string(event) + '\0' + "SUBSYSTEM=x");
    EXPECT_TRUE(drain_uevents(agent_.get())) << event;
    EXPECT_FALSE(drain_uevents(agent_.get())) << event;
  }
}

TEST_F(UeventsTest, OneOfSeveralIsEnough) {
  for (const auto* event : {"add@/bus/usb", "add@/devices/pci0000:00/0000:01:00.0/drm/card0", "add@/kernel/slab/x"})
    send(event);
  EXPECT_TRUE(drain_uevents(agent_.get()));
}

TEST_F(UeventsTest, OthersDoNot) {
  send("add@/kernel/slab/x");
  EXPECT_FALSE(drain_uevents(agent_.get()));
}

}  // namespace
}  // namespace ds01::daemon
