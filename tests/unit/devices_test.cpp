// SPDX-License-Identifier: Apache-2.0
#include "devices/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ds01/abi.h"
#include "fakes.h"

namespace ds01::devices {
namespace {

using config::DeviceClass;
using config::DeviceRule;
using config::Vendor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kDevices =
    "Character devices:\n"
    "  1 mem\n"
    "  5 /dev/tty\n"
    "195 nvidia\n"
    "195 nvidiactl\n"
    "234 nvidia-caps\n"
    "511 my driver 2\n"
    "\n"
    "Block devices:\n"
    "  7 loop\n"
    "259 blkext\n";

TEST(ParseMajors, TextOfTheKernelGivesCharacterDevices) {
  EXPECT_THAT(parse_majors(kDevices),
              UnorderedElementsAre(Pair("mem", 1), Pair("/dev/tty", 5), Pair("nvidia", 195), Pair("nvidiactl", 195),
                                   Pair("nvidia-caps", 234), Pair("my driver 2", 511)));
}

TEST(ParseMajors, NameRepeatedKeepsEveryMajor) {
  const auto majors = parse_majors("Character devices:\n240 nvidia-uvm\n241 nvidia-uvm\n");
  EXPECT_THAT(majors, UnorderedElementsAre(Pair("nvidia-uvm", 240), Pair("nvidia-uvm", 241)));
}

TEST(ParseMajors, BlockSectionFirstOnlyCharactersCount) {
  EXPECT_THAT(parse_majors("Block devices:\n  8 sd\nCharacter devices:\n 10 misc\n"), ElementsAre(Pair("misc", 10)));
}

// A driver's name is its own choice: it must not end the section and so hide the drivers behind it.
TEST(ParseMajors, NameLikeAHeadingEndsNoSection) {
  EXPECT_THAT(parse_majors("Character devices:\n240 Block devices:\n241 my devices:\n242 nvidia-uvm\n"),
              UnorderedElementsAre(Pair("Block devices:", 240), Pair("my devices:", 241), Pair("nvidia-uvm", 242)));
}

TEST(ParseMajors, GarbageIsSkipped) {
  for (const std::string_view line : {"", " ", "\r", "nvidia", "195", "195nvidia", "-1 nvidia", "x 195", "4096 nvidia",
                                      "99999999999999999999 nvidia", "0x10 nvidia"}) {
    const auto text = "Character devices:\n" + std::string(line) + "\n10 misc\n";
    EXPECT_THAT(parse_majors(text), ElementsAre(Pair("misc", 10))) << line;
  }
}

TEST(ParseMajors, TextWithoutSectionsGivesNothing) {
  EXPECT_THAT(parse_majors(""), IsEmpty());
  EXPECT_THAT(parse_majors("195 nvidia\n"), IsEmpty());
}

constexpr std::uint32_t kLastMinor = (1U << 20) - 1;

DeviceRule rule(DeviceClass device_class, std::variant<std::uint32_t, std::string, Vendor> nodes,
                std::uint32_t first = 0, std::uint32_t last = 255, bool index = false) {
  return {device_class, std::move(nodes), first, last, index, "agent.yaml:3: devices[0]"};
}

Result<Gated> look_up(const std::vector<DeviceRule>& rules, const Majors& majors,
                      const std::vector<PciNode>& nodes = {}) {
  return resolve(rules, {majors, nodes});
}

TEST(Resolve, MajorByNumberNeedsNoDriver) {
  const auto gated = look_up({rule(DeviceClass::gpu, 195U, 0, 253, true)}, {});
  ASSERT_TRUE(gated);
  EXPECT_THAT(gated->ranges, ElementsAre(DeviceRange{195, 0, 253, DeviceClass::gpu, true}));
  EXPECT_THAT(gated->drivers, IsEmpty());
}

TEST(Resolve, NameWithTwoMajorsGatesBoth) {
  const auto gated = look_up({rule(DeviceClass::compute, "uvm")}, {{"uvm", 240}, {"uvm", 241}, {"uv", 242}});
  ASSERT_TRUE(gated);
  EXPECT_THAT(gated->ranges, UnorderedElementsAre(DeviceRange{240, 0, 255, DeviceClass::compute, false},
                                                  DeviceRange{241, 0, 255, DeviceClass::compute, false}));
}

TEST(Resolve, NameNotRegisteredIsADriverToWaitFor) {
  const auto gated = look_up({rule(DeviceClass::compute, "nvidia-uvm")}, {{"mem", 1}});
  ASSERT_TRUE(gated);
  EXPECT_THAT(gated->ranges, IsEmpty());
  EXPECT_THAT(gated->drivers, ElementsAre(Driver{"nvidia-uvm", DeviceClass::compute}));
}

// Loaded anew it has another major, under which all of it is gated at once.
TEST(Resolve, NameRegisteredIsWaitedForTooIfAllItsMinorsAreGated) {
  const auto gated = look_up({rule(DeviceClass::compute, "nvidia-uvm", 0, kLastMinor)}, {{"nvidia-uvm", 240}});
  ASSERT_TRUE(gated);
  EXPECT_THAT(gated->drivers, ElementsAre(Driver{"nvidia-uvm", DeviceClass::compute}));
}

// By its name every minor would be gated, also those that no rule is about.
TEST(Resolve, NameRegisteredWithSomeMinorsGatedIsNotWaitedFor) {
  const std::vector rules{rule(DeviceClass::gpu, "x", 0, 7, true), rule(DeviceClass::control, "x", 8, 8)};
  EXPECT_THAT(look_up(rules, {{"x", 240}})->drivers, IsEmpty());
  EXPECT_THAT(look_up(rules, {})->drivers,
              ElementsAre(Driver{"x", DeviceClass::gpu}, Driver{"x", DeviceClass::control}));
}

TEST(Resolve, NameListedTwiceForOneMajorCountsOnce) {
  const auto gated = look_up({rule(DeviceClass::gpu, "nvidia")}, {{"nvidia", 195}, {"nvidia", 195}});
  ASSERT_TRUE(gated);
  EXPECT_EQ(gated->ranges.size(), 1U);
}

// A grant names the nodes of these two drivers, whatever their major is.
TEST(Resolve, CapabilitiesKnowTheirFamily) {
  const auto families = [](const std::vector<DeviceRule>& rules) {
    std::vector<int> found;
    const auto gated = look_up(rules, {{"nvidia-caps", 240}, {"nvidia-caps-imex-channels", 241}, {"x", 242}});
    for (const auto& range : gated->ranges) found.push_back(range.cap_family);
    for (const auto& driver : gated->drivers) found.push_back(driver.cap_family);
    return found;
  };
  const auto whole = [](DeviceClass device_class, const char* name) { return rule(device_class, name, 0, kLastMinor); };
  EXPECT_THAT(families({whole(DeviceClass::capability, "nvidia-caps")}),
              ElementsAre(DS01_CAPS_NVIDIA, DS01_CAPS_NVIDIA));
  EXPECT_THAT(families({whole(DeviceClass::capability, "nvidia-caps-imex-channels")}),
              ElementsAre(DS01_CAPS_IMEX, DS01_CAPS_IMEX));
  EXPECT_THAT(families({whole(DeviceClass::capability, "x")}), ElementsAre(0, 0));
  EXPECT_THAT(families({whole(DeviceClass::compute, "nvidia-caps")}), ElementsAre(0, 0));
  EXPECT_THAT(families({rule(DeviceClass::capability, 240U)}), ElementsAre(0));
}

TEST(Resolve, VitalMajorRefusedThroughAName) {
  for (const std::uint32_t major : {1U, 4U, 5U, 136U}) {
    const auto ranges = look_up({rule(DeviceClass::gpu, "nvidia")}, {{"nvidia", 195}, {"nvidia", major}});
    EXPECT_EQ(fake::code(ranges), ErrorCode::invalid) << major;
    EXPECT_THAT(fake::message(ranges), StartsWith("agent.yaml:3: devices[0]: major " + std::to_string(major)));
  }
}

TEST(Resolve, VitalMajorRefusedByNumber) {
  EXPECT_EQ(fake::code(look_up({rule(DeviceClass::gpu, 1U)}, {})), ErrorCode::invalid);
}

// The kernel side has a bit for each of 256 GPUs; a larger index would be taken for a smaller one.
TEST(Resolve, IndexThatNoGrantCanNameRefused) {
  EXPECT_TRUE(look_up({rule(DeviceClass::gpu, 195U, 0, 255, true)}, {}));
  const auto ranges = look_up({rule(DeviceClass::gpu, 195U, 0, 256, true)}, {});
  EXPECT_EQ(fake::code(ranges), ErrorCode::invalid);
  EXPECT_THAT(fake::message(ranges), HasSubstr("255"));
  EXPECT_TRUE(look_up({rule(DeviceClass::gpu, 195U, 0, 256, false)}, {}));
}

TEST(Resolve, VendorGatesItsNodesWithTheirGpus) {
  const std::vector<PciNode> nodes{
      {226, 0, 0x10de, 3}, {226, 1, 0x1a03, {}}, {226, 2, 0x10de, {}}, {261, 0, 0x8086, {}}};
  const auto gated = look_up({rule(DeviceClass::dri, Vendor{0x10de}, 0, kLastMinor),
                              rule(DeviceClass::compute, Vendor{0x8086}, 0, kLastMinor)},
                             {}, nodes);
  ASSERT_TRUE(gated);
  EXPECT_THAT(gated->ranges, ElementsAre(DeviceRange{226, 0, 0, DeviceClass::dri, false, 3},
                                         DeviceRange{226, 2, 2, DeviceClass::dri, false, {}},
                                         DeviceRange{261, 0, 0, DeviceClass::compute, false, {}}));
  EXPECT_THAT(gated->drivers, IsEmpty());
}

TEST(Resolve, VitalMajorRefusedThroughAVendor) {
  const auto gated = look_up({rule(DeviceClass::dri, Vendor{0x10de}, 0, kLastMinor)}, {}, {{5, 0, 0x10de, {}}});
  EXPECT_EQ(fake::code(gated), ErrorCode::invalid);
}

TEST(Look, MachineIsWhatProcAndSysTell) {
  const fake::Folder folder;
  folder.write("proc/devices", "Character devices:\n226 drm\n");
  folder.write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Device Minor: 2\n");
  folder.write("sys/class/drm/card0/dev", "226:0\n");
  folder.write("sys/devices/0000:01:00.0/vendor", "0x10de\n");
  std::filesystem::create_directory_symlink(folder.path() / "sys/devices/0000:01:00.0",
                                            folder.path() / "sys/class/drm/card0/device");
  const auto machine = look(folder.path() / "proc", folder.path() / "sys");
  ASSERT_TRUE(machine);
  EXPECT_THAT(machine->majors, ElementsAre(Pair("drm", 226)));
  EXPECT_THAT(machine->nodes, ElementsAre(PciNode{226, 0, 0x10de, 2}));
  EXPECT_FALSE(look(folder.path() / "gone", folder.path() / "sys"));
}

class ListGpus : public ::testing::Test {
 protected:
  void add(const std::string& address, std::string_view text) {
    folder_.write("driver/nvidia/gpus/" + address + "/information", text);
  }
  fake::Folder folder_;
};

TEST_F(ListGpus, DriverPresentListsByMinor) {
  add("0000:81:00.0", "Model: \t\t NVIDIA A100\nGPU UUID:    \t GPU-bbbb\nDevice Minor: \t 1\nGPU Excluded:\t No\n");
  add("0000:01:00.0", "Model: \t\t NVIDIA A100\nGPU UUID:    \t GPU-aaaa\nDevice Minor: \t 0\n");
  const auto gpus = list_gpus(folder_.path());
  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0].index, 0U);
  EXPECT_EQ(gpus[0].uuid, "GPU-aaaa");
  EXPECT_EQ(gpus[0].bus, "0000:01:00.0");
  EXPECT_EQ(gpus[1].index, 1U);
  EXPECT_EQ(gpus[1].uuid, "GPU-bbbb");
}

TEST_F(ListGpus, UuidUnknownStaysEmpty) {
  add("0000:01:00.0", "Device Minor: 3\n");
  const auto gpus = list_gpus(folder_.path());
  ASSERT_EQ(gpus.size(), 1U);
  EXPECT_EQ(gpus[0].uuid, "");
}

TEST_F(ListGpus, FileMalformedIsSkipped) {
  add("0000:01:00.0", "GPU UUID: GPU-aaaa\n");
  add("0000:02:00.0", "Device Minor: ?\nGPU UUID: GPU-bbbb\n");
  add("0000:03:00.0", "");
  folder_.make("driver/nvidia/gpus/0000:04:00.0");
  EXPECT_THAT(list_gpus(folder_.path()), IsEmpty());
}

TEST_F(ListGpus, DriverAbsentListsNone) { EXPECT_THAT(list_gpus(folder_.path()), IsEmpty()); }

TEST(ClassName, EveryClassHasAName) {
  const std::string_view names[] = {"selftest", "gpu", "control",    "compute", "capability",
                                    "fabric",   "dri", "admin.sock", "gate"};
  for (std::uint16_t i = 0; i < DS01_CLASS_COUNT; ++i) EXPECT_EQ(class_name(i), names[i]);
  EXPECT_EQ(class_name(DS01_CLASS_COUNT), "unknown");
  EXPECT_EQ(class_name(0xffff), "unknown");
}

TEST(HookName, EveryHookHasAName) {
  EXPECT_EQ(hook_name(DS01_HOOK_OPEN), "open");
  EXPECT_EQ(hook_name(DS01_HOOK_PTRACE), "ptrace");
  for (std::uint16_t i = 0; i < DS01_HOOK_COUNT; ++i) EXPECT_NE(hook_name(i), "unknown");
  EXPECT_EQ(hook_name(DS01_HOOK_COUNT), "unknown");
}

TEST(DeviceName, OnlyGpusHaveAnIndex) {
  EXPECT_EQ(device_name(DS01_CLASS_GPU, 12), "gpu12");
  EXPECT_EQ(device_name(DS01_CLASS_CONTROL, 12), "control");
}

TEST(PlaceOf, NamesTheRuleThatCoversTheDevice) {
  const Machine machine{parse_majors(kDevices), {}};
  EXPECT_EQ(place_of(config::default_devices(), machine, DS01_DEV(195U, 3U)), "built-in default");
  EXPECT_EQ(place_of(config::default_devices(), machine, DS01_DEV(1U, 3U)), "");
}

}  // namespace
}  // namespace ds01::devices
