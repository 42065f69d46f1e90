// SPDX-License-Identifier: Apache-2.0
// Somebody who opens a device in a tight loop, in a process of their own, while something else happens.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>

#include "core/clock.h"
#include "harness.h"

namespace ds01::test {

// Not one of the named users: this one's bucket is empty afterwards, and others' denials are to be seen in the log.
inline constexpr uid_t kAttacker = 3001;

// Opens until it is denied, which must be so from `no_later` on. The clock is read before each open: whoever is held up
// between the two is not late.
inline void expect_open_until(uid_t uid, BootTime no_later) {
  eventually([&] {
    const auto before = SystemClock().boot();
    const bool denied = open_as({.uid = uid}) != 0;
    EXPECT_TRUE(denied || before < no_later);
    return denied;
  });
}

class OpenLoop {
 public:
  explicit OpenLoop(uid_t uid, const char* path = kGpu0) {
    shared_ = static_cast<Shared*>(
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child_ = ::fork();
    if (child_ != 0) return;
    run_as({.uid = uid}, [this, path] {
      while (!shared_->stop) {
        const int error = open_errno(path);
        if (error == 0) shared_->successes += 1;
        if (error == EACCES) shared_->denials += 1;
        shared_->tries += 1;
      }
      return 0;
    });
    ::_exit(0);
  }
  ~OpenLoop() {
    if (child_ > 0) finish();
    ::munmap(shared_, sizeof(Shared));
  }
  OpenLoop(const OpenLoop&) = delete;
  OpenLoop& operator=(const OpenLoop&) = delete;

  // Waits until this many more opens were tried.
  void wait_for_tries(long more) const {
    const long goal = shared_->tries + more;
    eventually([&] { return shared_->tries >= goal; });
  }

  struct Result {
    long tries, successes, denials;
  };
  // Ends the loop.
  Result finish() {
    wait_for_tries(100);
    shared_->stop = true;
    ::waitpid(child_, nullptr, 0);
    child_ = -1;
    return {shared_->tries, shared_->successes, shared_->denials};
  }

 private:
  struct Shared {
    std::atomic<bool> stop;
    std::atomic<long> tries, successes, denials;
  };
  Shared* shared_;
  pid_t child_;
};

}  // namespace ds01::test
