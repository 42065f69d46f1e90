// SPDX-License-Identifier: Apache-2.0
#include "daemon/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

namespace ds01::daemon {

// The folder itself: a lock file could not be made on a full disk.
Result<Fd> lock_store(const std::filesystem::path& folder) {
  (void)::mkdir(folder.c_str(), 0700);
  Fd lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return lock;
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return fail_errno(folder.string());
  return fail(ErrorCode::conflict, "another ds01d is running: stop it first (systemctl stop ds01d)");
}

}  // namespace ds01::daemon
