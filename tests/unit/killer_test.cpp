// SPDX-License-Identifier: Apache-2.0
#include "killer/killer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "fakes.h"

namespace ds01::killer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::chrono_literals;

constexpr std::uint32_t kGpu0 = DS01_DEV(195U, 0U);

ds01_holder holder(std::uint32_t pid, std::uint32_t uid, std::uint8_t allowed = 0, std::uint8_t on_host = 1) {
  ds01_holder holder = {};
  holder.tgid = pid;
  holder.uid = uid;
  holder.device = kGpu0;
  holder.task_start = pid * 10;
  holder.allowed = allowed;
  holder.on_host = on_host;
  return holder;
}

class KillerTest : public ::testing::Test {
 protected:
  using Sent = std::pair<pid_t, int>;

  KillerTest() { grant_.subject.uid = 1000; }

  void holds(const ds01_holder& holder) {
    holders_.push_back(holder);
    now_[static_cast<pid_t>(holder.tgid)] = holder;
  }

  fake::Clock clock_;
  grants::Grant grant_;
  std::vector<ds01_holder> holders_;
  std::map<pid_t, ds01_holder> now_;  // what the kernel says if asked
  std::vector<Sent> sent_;
  std::vector<Sent> reported_;
  Killer killer_{{clock_, [this]() -> Result<std::vector<ds01_holder>> { return holders_; },
                  [this](pid_t pid, std::uint32_t) -> Result<std::optional<ds01_holder>> {
                    const auto found = now_.find(pid);
                    return found == now_.end() ? std::nullopt : std::optional(found->second);
                  },
                  [](std::uint64_t cgroup) -> std::string { return cgroup == 7 ? "/a.slice/b" : "/a.slicer"; },
                  [this](pid_t pid, int signal, const std::function<bool()>& still) -> Status {
                    if (still()) sent_.emplace_back(pid, signal);
                    return {};
                  },
                  [this](const grants::Grant&, const ds01_holder& holder, int signal) {
                    reported_.emplace_back(holder.tgid, signal);
                  }},
                 60s};
};

TEST_F(KillerTest, TermAtTheEndAndKillAfterTheGrace) {
  holds(holder(10, 1000));
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, ElementsAre(Sent{10, SIGTERM}));
  EXPECT_EQ(killer_.next_due(), clock_.boot() + 60s);
  clock_.advance(59s);
  ASSERT_TRUE(killer_.work());
  EXPECT_EQ(sent_.size(), 1U);
  clock_.advance(1s);
  ASSERT_TRUE(killer_.work());
  EXPECT_THAT(sent_, ElementsAre(Sent{10, SIGTERM}, Sent{10, SIGKILL}));
  EXPECT_EQ(reported_, sent_);
  EXPECT_EQ(killer_.next_due(), std::nullopt);
}

TEST_F(KillerTest, OnlyDeniedHostProcessesOfTheSubject) {
  holds(holder(10, 1001));
  holds(holder(11, 1000, 1));
  holds(holder(12, 1000, 0, 0));
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, IsEmpty());
}

TEST_F(KillerTest, OneSignalForAProcessWithSeveralDescriptors) {
  holds(holder(10, 1000));
  holds(holder(10, 1000));
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, ElementsAre(Sent{10, SIGTERM}));
}

TEST_F(KillerTest, GrantedAnewMeanwhileIsLeftAlone) {
  holds(holder(10, 1000));
  now_[10].allowed = 1;
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, IsEmpty());
  EXPECT_THAT(reported_, IsEmpty());
}

TEST_F(KillerTest, AnotherProcessOfTheSamePidIsLeftAlone) {
  holds(holder(10, 1000));
  now_[10].task_start += 1;
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, IsEmpty());
  now_.clear();
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, IsEmpty());
}

TEST_F(KillerTest, CgroupMeansItAndWhatIsBelow) {
  grant_.subject.kind = grants::Subject::Kind::cgroup;
  grant_.subject.path = "/a.slice";
  auto inside = holder(10, 1000);
  inside.cgroup = 7;
  holds(inside);
  holds(holder(11, 1000));
  ASSERT_TRUE(killer_.end(grant_));
  EXPECT_THAT(sent_, ElementsAre(Sent{10, SIGTERM}));
}

TEST(SendSignal, ReachesTheProcessWhileItIsTheOneMeant) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  EXPECT_TRUE(send_signal(child, SIGKILL, [] { return false; }));
  EXPECT_EQ(::kill(child, 0), 0);
  EXPECT_TRUE(send_signal(child, SIGKILL, [] { return true; }));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(send_signal(child, SIGKILL, [] { return true; })) << "a process that is gone is no error";
}

}  // namespace
}  // namespace ds01::killer
