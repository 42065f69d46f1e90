// SPDX-License-Identifier: Apache-2.0
// Row 23: the agent is killed at any point of a grant, a revoke or a start, 200 times. (Of an upgrade:
// upgrade_test.cpp.)
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <random>

#include "attacker.h"
#include "harness.h"

namespace ds01::test {
namespace {

constexpr uid_t kFirst = 4001;
constexpr std::size_t kSubjects = 6;
constexpr int kKills = 200;

// Grants to and revokes from its subjects without a pause, remembers what was acknowledged, and looks whether that is
// what ds01ctl and the kernel say, whenever there is an answer.
class Admin {
 public:
  Admin() {
    shared_ = static_cast<Shared*>(
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child_ = ::fork();
    if (child_ == 0) {
      work();
      ::_exit(0);
    }
  }
  ~Admin() { ::munmap(shared_, sizeof(Shared)); }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Waits until one more change was acknowledged.
  void wait_for_change() const {
    const int before = shared_->acknowledged;
    while (shared_->acknowledged == before) std::this_thread::yield();
  }

  struct Result {
    int acknowledged, cut_off, lost, half, refused;
  };
  Result finish() {
    shared_->stop = true;
    ::waitpid(child_, nullptr, 0);
    return {shared_->acknowledged, shared_->cut_off, shared_->lost, shared_->half, shared_->refused};
  }

 private:
  struct Shared {
    std::atomic<bool> stop;
    std::atomic<int> acknowledged, cut_off, lost, half, refused;
  };

  void work() {
    std::mt19937 random(23);
    while (!shared_->stop) step(random() % kSubjects);
    for (std::size_t i = 0; i < kSubjects; ++i) check(i);
  }

  void step(std::size_t i) {
    check(i);
    const bool grant = !*granted_[i];
    const auto outcome = grant ? ctl({"grant", name(i), "1h"}) : ctl({"revoke", name(i)});
    if (outcome.code == 0) {
      shared_->acknowledged += 1;
      granted_[i] = grant;
      check_kernel(i);  // at once, whether the agent lives or not
    } else if (outcome.code == 3) {
      shared_->cut_off += 1;
      granted_[i].reset();  // done or not; the next check says
    } else {
      shared_->refused += 1;
    }
  }

  // What ds01ctl says, as soon as an agent answers.
  void check(std::size_t i) {
    int code = 3;
    while (code == 3) code = ctl({"show", name(i)}).code;
    if (granted_[i] && *granted_[i] != (code == 0)) shared_->lost += 1;
    granted_[i] = code == 0;
    check_kernel(i);
  }

  void check_kernel(std::size_t i) {
    if ((open_as({.uid = uid(i)}) == 0) != *granted_[i]) shared_->half += 1;
  }

  static uid_t uid(std::size_t i) { return kFirst + static_cast<uid_t>(i); }
  static std::string name(std::size_t i) { return "uid:" + std::to_string(uid(i)); }

  Shared* shared_;
  pid_t child_;
  std::array<std::optional<bool>, kSubjects> granted_;
};

TEST(Crash, Attack23TwoHundredKillsLoseNothing) {
  Agent agent;
  OpenLoop attacker(kAttacker);
  Admin admin;
  std::mt19937 random(200);
  for (int i = 0; i < kKills; ++i) {
    // Every other kill hits the start, the rest the changes that are going on.
    if (i % 2 == 1) admin.wait_for_change();
    attacker.wait_for_tries(static_cast<long>(random() % 1000));
    agent.kill();
    agent.launch();
  }
  const auto result = admin.finish();
  const auto all = attacker.finish();
  std::printf("%d kills: %d changes acknowledged, %d cut off, %ld opens of a denied user\n", kKills,
              result.acknowledged, result.cut_off, all.tries);
  EXPECT_EQ(result.lost, 0);
  EXPECT_EQ(result.half, 0);
  EXPECT_EQ(result.refused, 0);
  EXPECT_GE(result.acknowledged, kKills / 2);
  EXPECT_EQ(all.successes, 0);
  EXPECT_EQ(all.denials, all.tries);
}

}  // namespace
}  // namespace ds01::test
