// SPDX-License-Identifier: Apache-2.0
// Row 27, on a kernel with preempt=full, where programs are interrupted in the middle. Boots of its own (tools/test).
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <new>

#include "harness.h"

namespace ds01::test {
namespace {

constexpr int kProcesses = 8;
constexpr int kOpens = 125'000;  // each
constexpr uid_t kCrowd = 3101;

TEST(Preempted, Row27AMillionOpensByEightProcesses) {
  Agent agent;
  auto* successes =
      new (::mmap(nullptr, sizeof(std::atomic<long>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
          std::atomic<long>(0);
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::_exit(run_as({.uid = kCrowd}, [&] {
      for (int n = 0; n < kOpens; ++n)
        if (open_errno(kGpu0) != EACCES) *successes += 1;
      return 0;
    }));
  }
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  EXPECT_EQ(*successes, 0);
  EXPECT_EQ(denials_of(kCrowd).denied, kProcesses * kOpens);
  const auto status = ctl_json({"status"});
  std::printf("backend %s, recursion misses %ld\n", status.at("backend").as_string().c_str(),
              static_cast<long>(status.at("recursion_misses_total").as_int64()));
}

}  // namespace
}  // namespace ds01::test
