// SPDX-License-Identifier: Apache-2.0
#include "daemon/lock.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace ds01::daemon {
namespace {

TEST(LockStore, SecondOneIsRefusedUntilTheFirstIsGone) {
  const fake::Folder folder;
  const auto state = folder.path() / "state";
  {
    const auto first = lock_store(state);
    ASSERT_TRUE(first && *first);
    const auto second = lock_store(state);
    EXPECT_EQ(fake::code(second), ErrorCode::conflict);
    EXPECT_EQ(fake::message(second), "another ds01d is running: stop it first (systemctl stop ds01d)");
  }
  EXPECT_TRUE(lock_store(state));
}

TEST(LockStore, WithoutAFolderThereIsNothingToLock) {
  const auto lock = lock_store("/proc/ds01");
  ASSERT_TRUE(lock);
  EXPECT_FALSE(*lock);
}

}  // namespace
}  // namespace ds01::daemon
