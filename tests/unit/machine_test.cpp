// SPDX-License-Identifier: Apache-2.0
// DRI and accelerator nodes, in a made-up /sys.
#include "devices/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "fakes.h"

namespace ds01::devices {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ListPciNodes : public ::testing::Test {
 protected:
  // As the kernel has it: the class folder links to the node's, which links to its device.
  void add_node(const std::string& name, std::string_view numbers, const std::string& bus, std::string_view vendor) {
    const auto subsystem = name.starts_with("accel") ? "accel" : "drm";
    const auto device = folder_.make("devices/pci0000:00/" + bus);
    if (!vendor.empty()) folder_.write("devices/pci0000:00/" + bus + "/vendor", vendor);
    const auto node = folder_.make("devices/pci0000:00/" + bus + "/" + subsystem + "/" + name);
    if (!numbers.empty()) folder_.write(std::filesystem::relative(node / "dev", folder_.path()), numbers);
    std::filesystem::create_directory_symlink(device, node / "device");
    std::filesystem::create_directory_symlink(node, folder_.make(std::string("class/") + subsystem) / name);
  }
  std::vector<PciNode> list() const { return list_pci_nodes(folder_.path(), gpus_); }

  fake::Folder folder_;
  std::vector<Gpu> gpus_;
};

TEST_F(ListPciNodes, NodeHasItsNumberAndVendor) {
  add_node("card0", "226:0\n", "0000:00:02.0", "0x8086\n");
  add_node("renderD128", "226:128\n", "0000:00:02.0", "0x8086\n");
  add_node("accel0", "261:0\n", "0000:00:0b.0", "0x8086\n");
  EXPECT_THAT(list(),
              ElementsAre(PciNode{226, 0, 0x8086, {}}, PciNode{226, 128, 0x8086, {}}, PciNode{261, 0, 0x8086, {}}));
}

TEST_F(ListPciNodes, NodeOfAGpuKnowsItsIndex) {
  gpus_ = {{0, "GPU-aaaa", "0000:81:00.0"}, {1, "GPU-bbbb", "0000:01:00.0"}};
  add_node("card0", "226:0\n", "0000:01:00.0", "0x10de\n");
  add_node("card1", "226:1\n", "0000:81:00.0", "0x10de\n");
  add_node("card2", "226:2\n", "0000:82:00.0", "0x10de\n");
  EXPECT_THAT(list(), ElementsAre(PciNode{226, 0, 0x10de, 1}, PciNode{226, 1, 0x10de, 0}, PciNode{226, 2, 0x10de, {}}));
}

// The kernel side has a bit for each of 256 GPUs; a larger index would be taken for a smaller one.
TEST_F(ListPciNodes, IndexThatNoGrantCanNameIsNone) {
  gpus_ = {{256, "GPU-aaaa", "0000:81:00.0"}};
  add_node("card0", "226:0\n", "0000:81:00.0", "0x10de\n");
  EXPECT_THAT(list(), ElementsAre(PciNode{226, 0, 0x10de, {}}));
}

// Connectors have no number, virtual GPUs no vendor.
TEST_F(ListPciNodes, OtherEntriesAreLeftOut) {
  add_node("card0-DP-1", "", "0000:00:02.0", "0x8086\n");
  add_node("card1", "226:1\n", "vkms", "");
  add_node("card2", "226\n", "0000:00:03.0", "0x8086\n");
  add_node("card3", "226:x\n", "0000:00:04.0", "0x8086\n");
  add_node("card4", "226:4\n", "0000:00:05.0", "8086\n");
  folder_.write("class/drm/version", "drm 1.1.0 20060810\n");
  EXPECT_THAT(list(), IsEmpty());
}

TEST_F(ListPciNodes, WithoutTheClassesThereAreNone) { EXPECT_THAT(list(), IsEmpty()); }

}  // namespace
}  // namespace ds01::devices
