// SPDX-License-Identifier: Apache-2.0
// Rows of holders, from the kernel's records and from maps of a /proc of our own.
#include "holders/holders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fakes.h"
#include "holders/mappings.h"

namespace ds01::holders {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint32_t kNull = DS01_DEV(1U, 3U);

class HoldersTest : public ::testing::Test {
 protected:
  std::vector<Holder> all() const {
    auto found = list(source_, folder_.path(), [](const ds01_holder&) { return true; });
    EXPECT_EQ(fake::message(found), "");
    return found.value_or(std::vector<Holder>{});
  }
  // A process with these maps, whose root is ours: so "/dev/null" is a device.
  void process(const std::string& pid, const std::string& maps) const {
    folder_.write(pid + "/maps", maps);
    std::filesystem::create_directory_symlink("/", folder_.path() / pid / "root");
  }

  fake::Folder folder_;
  fake::Source source_;
};

TEST_F(HoldersTest, ProcessIsOneRow) {
  auto fd = fake::holder();
  auto second = fd;
  second.fd = 4;
  auto other = fd;
  other.device = DS01_DEV(195U, 255U);
  other.device_class = DS01_CLASS_CONTROL;
  other.fd = 5;
  auto map = fd;
  map.fd = DS01_NO_FD;
  source_.records = {other, fd, fd, second, map, map};  // once more by a thread that shares its files
  const auto rows = all();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].pid, 4711);
  EXPECT_EQ(rows[0].comm, "python3");
  EXPECT_EQ(rows[0].fds, 3U);
  EXPECT_EQ(rows[0].maps, 2U);
  EXPECT_THAT(rows[0].names(), ElementsAre("gpu0", "control"));
}

TEST_F(HoldersTest, DeniedDeviceDecidesAndTheGrantIsThatOfTheOther) {
  auto covered = fake::holder();
  covered.allowed = 1;
  covered.reason = DS01_BY_USER_GRANT;
  covered.grant = 7;
  auto denied = fake::holder();
  denied.device = DS01_DEV(195U, 1U);
  denied.index = 1;
  denied.grant = 7;
  denied.reason = DS01_GRANT_NOT_COVERING;
  source_.records = {covered};
  EXPECT_TRUE(all().at(0).allowed());
  source_.records = {covered, denied};
  const auto row = all().at(0);
  EXPECT_FALSE(row.allowed());
  EXPECT_EQ(row.decisive().name, "gpu1");
  EXPECT_EQ(row.covering_grant(), 7U);
  EXPECT_EQ(only_denied(all()).size(), 1U);
  source_.records = {covered};
  EXPECT_TRUE(only_denied(all()).empty());
  source_.records = {denied};
  EXPECT_EQ(all().at(0).covering_grant(), 0U);
}

TEST_F(HoldersTest, MappingsComeFromProcWhereTheKernelDoesNotShowThem) {
  source_.mappings = false;
  process("4711",
          "7f0000000000-7f0000001000 rw-s 00000000 00:06 4 /dev/null\n"
          "7f0000001000-7f0000002000 rw-s 00001000 00:06 4 /dev/null\n"
          "7f0000002000-7f0000003000 rw-s 00000000 00:06 5 /dev/zero\n"
          "7f0000003000-7f0000004000 rw-s 00000000 00:06 9 /dev/shm/x\n"
          "7f0000004000-7f0000005000 r--p 00000000 08:01 9 /usr/lib/libc.so.6\n");
  process("5", "");
  auto gated = fake::holder();
  gated.fd = DS01_NO_FD;
  gated.device = kNull;
  auto ungated = gated;
  ungated.reason = DS01_UNGATED;
  source_.answers = {{{4711, kNull}, gated}, {{4711, DS01_DEV(1U, 5U)}, ungated}};
  source_.records = {fake::holder()};
  const auto rows = all();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].fds, 1U);
  EXPECT_EQ(rows[0].maps, 2U);
  EXPECT_EQ(rows[0].devices.size(), 2U);
  source_.mappings = true;
  EXPECT_EQ(all().at(0).maps, 0U);
}

TEST_F(HoldersTest, WithoutTheKernelSideIsAnError) {
  source_.broken = true;
  EXPECT_EQ(fake::code(list(source_, folder_.path(), [](const ds01_holder&) { return true; })), ErrorCode::unavailable);
}

TEST_F(HoldersTest, MappingsOfWhatIsGoneAreLeftOut) {
  process("6", "7f0000000000-7f0000001000 rw-s 00000000 00:06 4 /dev/ds01-is-not-there\n");
  folder_.make("7");
  folder_.make("self");
  const auto found = read_mappings(folder_.path());
  ASSERT_TRUE(found);
  EXPECT_THAT(*found, IsEmpty());
}

}  // namespace
}  // namespace ds01::holders
