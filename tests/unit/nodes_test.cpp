// SPDX-License-Identifier: Apache-2.0
#include "devices/nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ds01/abi.h"
#include "fakes.h"

namespace ds01::devices {
namespace {

using ::testing::HasSubstr;

TEST(LookUp, FindsCharacterDevicesOnly) {
  const auto null = look_up("/", "/dev/null");
  ASSERT_EQ(fake::message(null), "");
  EXPECT_EQ(null->device, DS01_DEV(1U, 3U));
  EXPECT_EQ(null->mode & 0777U, 0666U);
  EXPECT_EQ(fake::code(look_up("/", "/dev")), ErrorCode::not_found);
  EXPECT_EQ(fake::code(look_up("/", "/dev/ds01-is-not-there")), ErrorCode::not_found);
  EXPECT_EQ(fake::code(look_up("/", "gpu0")), ErrorCode::invalid);
}

TEST(LookUp, LinksStayBelowTheRoot) {
  const fake::Folder folder;
  folder.make("dev");
  std::filesystem::create_symlink("/dev/null", folder.path() / "dev/nvidia0");
  EXPECT_EQ(fake::code(look_up(folder.path(), "/dev/nvidia0")), ErrorCode::not_found);
  EXPECT_EQ(fake::code(look_up(folder.path(), "/../../../../dev/null")), ErrorCode::not_found);
}

TEST(ListNodes, HasDevicesWithTheirPaths) {
  const auto nodes = list_nodes("/");
  EXPECT_TRUE(std::ranges::any_of(nodes, [](const Node& node) { return node.path == "/dev/null"; }));
  EXPECT_TRUE(std::ranges::none_of(nodes, [](const Node& node) { return node.path.starts_with("/dev/tty"); }));
}

TEST(FileRights, OwnerGroupAndOthersEachHaveTheirBits) {
  const Node node{"/dev/nvidia0", 0, S_IFCHR | 0640, 5, 44, false};
  const auto allowed = [&](const Credentials& who) { return file_rights(node, who).allowed; };
  EXPECT_TRUE(allowed({5, {}, false}));
  EXPECT_FALSE(allowed({1000, {44}, false}));
  EXPECT_FALSE(allowed({1000, {}, false}));
  EXPECT_TRUE(allowed({0, {}, true}));
  EXPECT_FALSE(allowed({0, {}, false}));
  EXPECT_EQ(file_rights(node, {1000, {44}, false}).why,
            "crw-r----- (owner 5, group 44): the group may not read and write");
}

// The kernel looks at one class of bits only: an owner without rights has none as one of the others.
TEST(FileRights, OwnerIsNotOneOfTheOthers) {
  const Node node{"/dev/nvidia0", 0, S_IFCHR | 0066, 5, 44, false};
  EXPECT_FALSE(file_rights(node, {5, {44}, false}).allowed);
  EXPECT_TRUE(file_rights(node, {6, {44}, false}).allowed);
}

}  // namespace
}  // namespace ds01::devices
