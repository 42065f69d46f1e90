// SPDX-License-Identifier: Apache-2.0
// Rows 23 and 16: the agent is killed at any point of a grant, a revoke or a start, 200 times, and stopped past
// deadlines. (Killed in an upgrade: upgrade_test.cpp.)
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "attacker.h"
#include "harness.h"
#include "pinned.h"

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
  ~Admin() {
    if (child_ > 0) finish();
    ::munmap(shared_, sizeof(Shared));
  }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Waits until one more change was acknowledged.
  void wait_for_change() const {
    const int before = shared_->acknowledged;
    eventually([&] { return shared_->acknowledged != before; });
  }

  struct Result {
    int acknowledged, cut_off, lost, half, refused;
  };
  Result finish() {
    shared_->stop = true;
    ::waitpid(std::exchange(child_, -1), nullptr, 0);
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
    eventually([&] { return (code = ctl({"show", name(i)}).code) != 3; });
    if (code != 0 && code != 4) {  // no answer to the question
      shared_->refused += 1;
      return;
    }
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

// Opens without a pause from now on, in a process of its own, until the first denial.
class GrantedLoop {
 public:
  explicit GrantedLoop(uid_t uid) {
    shared_ = static_cast<Shared*>(
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child_ = ::fork();
    if (child_ != 0) return;
    run_as({.uid = uid}, [this] {
      const SystemClock clock;
      auto before = clock.boot();
      for (int error; (error = open_errno(kGpu0)) != EACCES && !shared_->stop; before = clock.boot()) {
        if (error == 0) shared_->last_success = before.time_since_epoch().count();
        ::sched_yield();
      }
      shared_->denied = clock.boot().time_since_epoch().count();
      return 0;
    });
    ::_exit(0);
  }
  ~GrantedLoop() {
    shared_->stop = true;
    ::waitpid(child_, nullptr, 0);
    ::munmap(shared_, sizeof(Shared));
  }
  GrantedLoop(const GrantedLoop&) = delete;
  GrantedLoop& operator=(const GrantedLoop&) = delete;

  // On the boot clock: just before the last open that succeeded, and just after the first one that was denied; 0: none.
  std::int64_t last_success() const { return shared_->last_success; }
  std::int64_t denied() const { return shared_->denied; }

 private:
  struct Shared {
    std::atomic<bool> stop;
    std::atomic<std::int64_t> last_success, denied;
  };
  Shared* shared_;
  pid_t child_;
};

// As the kernel has it.
std::int64_t end_of(uid_t uid) {
  const ds01_subject subject{uid, DS01_SUBJECT_UID, 0};
  ds01_grant grant = {};
  EXPECT_EQ(bpf_map_lookup_elem(pinned("grants").get(), &subject, &grant), 0) << uid;
  return static_cast<std::int64_t>(grant.ends);
}

TEST(Crash, Attack16StoppedPastDeadlinesNobodyIsLate) {
  Agent agent;
  OpenLoop attacker(kAttacker);
  std::vector<std::unique_ptr<GrantedLoop>> granted;
  std::vector<std::int64_t> ends;
  for (std::size_t i = 0; i < kSubjects; ++i) {
    const auto uid = kFirst + static_cast<uid_t>(i);
    EXPECT_EQ(ctl({"grant", "uid:" + std::to_string(uid), std::to_string(30 + 2 * i) + "s"}).code, 0);
    ends.push_back(end_of(uid));
  }
  ::kill(agent.pid(), SIGSTOP);
  for (std::size_t i = 0; i < kSubjects; ++i)
    granted.push_back(std::make_unique<GrantedLoop>(kFirst + static_cast<uid_t>(i)));
  for (std::size_t i = 0; i < kSubjects; ++i) {
    eventually([&] { return granted[i]->denied() != 0; });
    EXPECT_GT(granted[i]->last_success(), 0) << i;
    EXPECT_LT(granted[i]->last_success(), ends[i]) << i;
    EXPECT_GE(granted[i]->denied(), ends[i]) << i;
    EXPECT_EQ(open_as({.uid = kFirst + static_cast<uid_t>(i)}), EACCES) << i;
  }
  ::kill(agent.pid(), SIGCONT);
  eventually([] { return ctl_json({"history"}).as_array().size() == kSubjects; });
  EXPECT_TRUE(ctl_json({"list"}).as_array().empty());
  const auto all = attacker.finish();
  EXPECT_EQ(all.successes, 0);
  EXPECT_EQ(all.denials, all.tries);
}

}  // namespace
}  // namespace ds01::test
