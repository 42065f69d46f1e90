// SPDX-License-Identifier: Apache-2.0
// Who holds a device, what the agent says of it when it starts, and why somebody is denied.
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

namespace ds01::test {
namespace {

const std::string kContainerName = "docker-" + std::string(64, 'e') + ".scope";

// A process that does something and then stays until this object goes.
class Sitter {
 public:
  Sitter(const As& as, const std::function<void()>& act) {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::close(ends_[0]);
      ::_exit(run_as(as, [&] {
        act();
        const pid_t self = ::getpid();
        char byte;
        return ::write(ends_[1], &self, sizeof self) == sizeof self && ::read(ends_[1], &byte, 1) == 0 ? 0 : 1;
      }));
    }
    ::close(ends_[1]);
    EXPECT_EQ(::read(ends_[0], &pid_, sizeof pid_), static_cast<ssize_t>(sizeof pid_));
  }
  ~Sitter() {
    ::close(ends_[0]);
    ::waitpid(child_, nullptr, 0);
  }
  Sitter(const Sitter&) = delete;
  Sitter& operator=(const Sitter&) = delete;
  std::string pid() const { return std::to_string(pid_); }

  // Its row in `ds01ctl holders ARGUMENTS…`; null if there is none.
  json::value row(std::vector<std::string> arguments = {}, const As& as = {}) const {
    arguments.insert(arguments.begin(), "holders");
    const auto rows = ctl_json(arguments, as);
    for (const auto& row : rows.as_array())
      if (row.at("pid").as_int64() == pid_) return row;
    return nullptr;
  }

 private:
  int ends_[2];
  pid_t child_ = -1;
  pid_t pid_ = -1;
};

void open_gpu0() { EXPECT_GE(::open(kGpu0, O_RDWR), 0); }

void map(int device) { EXPECT_NE(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, device, 0), MAP_FAILED); }

TEST(HoldersBefore, OpenedBeforeTheAgentStartedIsListedAndReported) {
  forget_agents();
  const Sitter alice({.uid = kAlice}, open_gpu0);
  const Agent agent;
  const auto row = alice.row();
  ASSERT_TRUE(row.is_object());
  EXPECT_EQ(json::serialize(row.at("devices")), R"(["gpu0"])");
  EXPECT_EQ(row.at("user").as_string(), "alice");
  EXPECT_EQ(row.at("fds").as_int64(), 1);
  EXPECT_FALSE(row.at("allowed").as_bool());
  EXPECT_EQ(row.at("why").as_string(), "no grant");
  const auto line = agent.wait_for_audit("held", [&](const json::object& entry) {
    return std::to_string(entry.at("unmapped").at("pid").to_number<pid_t>()) == alice.pid();
  });
  EXPECT_EQ(line.at("unmapped").at("user").as_string(), "alice");
}

class Holders : public WithAgent {};

TEST_F(Holders, DescriptorsAndMappingsOfAGrantedUser) {
  const auto grant = ctl_json({"grant", "alice", "1h"});
  const Sitter alice({.uid = kAlice}, [] {
    const int kept = ::open(kGpu0, O_RDWR);
    map(kept);
    const int closed = ::open(kGpu1, O_RDWR);
    map(closed);
    ::close(closed);
  });
  const auto row = alice.row();
  ASSERT_TRUE(row.is_object());
  EXPECT_EQ(json::serialize(row.at("devices")), R"(["gpu0","gpu1"])");
  EXPECT_EQ(row.at("fds").as_int64(), 1);
  EXPECT_EQ(row.at("maps").as_int64(), 2);
  EXPECT_EQ(row.at("grant_id"), grant.at("id"));
  EXPECT_TRUE(row.at("allowed").as_bool());
  EXPECT_EQ(row.at("cgroup").as_string(), "/");
  for (const auto* gpu1 : {"gpu1", kGpu1}) EXPECT_EQ(alice.row({gpu1}).at("maps").as_int64(), 1);
  EXPECT_TRUE(alice.row({"gpu2"}).is_null());
  const auto explained = ctl_json({"explain", alice.pid(), "gpu1"});
  EXPECT_TRUE(explained.at("allowed").as_bool());
  EXPECT_EQ(explained.at("order").as_int64(), 4);
  EXPECT_EQ(explained.at("rule"), grant.at("id"));
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_FALSE(alice.row().at("allowed").as_bool());
}

TEST_F(Holders, UsersSeeTheirOwnOnly) {
  const Sitter root({}, open_gpu0);
  ASSERT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  const Sitter alice({.uid = kAlice}, open_gpu0);
  EXPECT_TRUE(alice.row({}, {.uid = kAlice}).is_object());
  EXPECT_TRUE(root.row({}, {.uid = kAlice}).is_null());
  EXPECT_TRUE(alice.row({}, {.uid = kBob}).is_null());
  EXPECT_TRUE(root.row().is_object());
  EXPECT_EQ(ctl({"explain", alice.pid()}, {.uid = kBob}).code, 1);
  EXPECT_EQ(ctl({"explain", alice.pid()}, {.uid = kAlice}).code, 0);
  ASSERT_EQ(ctl({"revoke", "alice"}).code, 0);
}

TEST_F(Holders, ExplainSaysWhyRootInAContainerIsDenied) {
  const Cgroup container("/system.slice/" + kContainerName);
  const Sitter root({.cgroup = container.path()}, [] {});
  const auto explained = ctl_json({"explain", root.pid()});
  EXPECT_FALSE(explained.at("allowed").as_bool());
  EXPECT_EQ(explained.at("decided_by").as_string(), "gate");
  EXPECT_NE(explained.at("why").as_string().find("in a container"), json::string::npos) << explained;
  EXPECT_NE(explained.at("next").as_string().find("--cgroup-parent=ds01.slice"), json::string::npos) << explained;
}

TEST_F(Holders, ExplainTellsADeniedUserWhatToType) {
  const auto own = ctl({"explain", "alice"}, {.uid = kAlice});
  EXPECT_EQ(own.code, 0) << own.err;
  EXPECT_NE(own.out.find("alice may not open gpu0: no grant"), std::string::npos) << own.out;
  EXPECT_NE(own.out.find("next: ds01ctl request 24h --reason TEXT"), std::string::npos) << own.out;
  EXPECT_EQ(ctl({"explain", "alice"}, {.uid = kBob}).code, 1);
  EXPECT_NE(ctl({"explain", "alice"}).out.find("ds01ctl grant alice"), std::string::npos);
  EXPECT_EQ(ctl_json({"explain", "dave"}).at("order").as_int64(), 1);
}

TEST_F(Holders, ExplainNamesTheNodeThatIsClosedOrGone) {
  const std::string moved = std::string(kGpu1) + ".away";
  ASSERT_EQ(::chmod(kGpu1, 0600), 0);
  EXPECT_EQ(ctl_json({"explain", "alice", kGpu1}).at("decided_by").as_string(), "node");
  EXPECT_NE(ctl_json({"explain", "root", kGpu1}).at("decided_by").as_string(), "node");
  ASSERT_EQ(::chmod(kGpu1, 0666), 0);
  ASSERT_EQ(::rename(kGpu1, moved.c_str()), 0);
  EXPECT_EQ(ctl({"explain", "alice", kGpu1}).code, 4);
  ASSERT_EQ(::rename(moved.c_str(), kGpu1), 0);
}

}  // namespace
}  // namespace ds01::test
