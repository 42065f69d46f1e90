// SPDX-License-Identifier: Apache-2.0
// What a test inside the VM works with: a real ds01d, ds01ctl, processes as other users, cgroups and containers.
// Everything waits for events; nothing sleeps.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/fd.h"

namespace ds01::test {

namespace json = boost::json;

// The guest's accounts (tests/vm/init).
inline constexpr uid_t kAlice = 1000, kBob = 1001, kCarol = 1002, kDave = 1003, kMallory = 1004;

inline constexpr const char* kGpu0 = "/dev/nvidia0";
inline constexpr const char* kGpu1 = "/dev/nvidia1";
inline constexpr const char* kControl = "/dev/nvidiactl";
inline constexpr const char* kCompute = "/dev/nvidia-uvm";
inline constexpr const char* kCapability = "/dev/nvidia-caps/nvidia-cap1";

// Asks until it is so. After two minutes the test has failed and the answer is false: nothing waits without an end.
bool eventually(const std::function<bool()>& is_so);

// ---- processes ---------------------------------------------------------------------------------------------------

// Opens and closes; 0 or the errno.
int open_errno(const char* path, int flags = O_RDWR);
int connect_errno(const char* path);

// A cgroup that exists as long as this object, with the parents it had to make.
class Cgroup {
 public:
  explicit Cgroup(std::string path);  // "/ds01.slice/a"
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> made_;
};

// How a child process is to be set up before it acts.
struct As {
  uid_t uid = 0;
  std::string cgroup = "/";
  bool pid_namespace = false;
  bool user_namespace = false;  // made by `uid`, in which it is root
};

// Runs `act` in a child set up like that; returns what it returned (0..., an errno), or -1 if the child died.
int run_as(const As& as, const std::function<int()>& act);

// open_errno() by such a process.
int open_as(const As& as, const char* path = kGpu0, int flags = O_RDWR);

struct Outcome {
  int code;
  std::string out;
  std::string err;
};
Outcome run_command(const std::vector<std::string>& arguments, const As& as = {});

// ds01ctl with these arguments.
Outcome ctl(std::vector<std::string> arguments, const As& as = {});
// The same with -o json, parsed; fails the test unless it exits with 0.
json::value ctl_json(std::vector<std::string> arguments, const As& as = {});

// ---- the agent ---------------------------------------------------------------------------------------------------

// Full mode, allowed /ds01.slice, dave denied, exempt: group gpu-admins (mallory), /exempt.slice, bob in
// /paired.slice.
extern const char* const kRichConfig;

// Whether the agent begins on a machine that never had one, or with what an earlier one left: pins and store.
enum class Start { fresh, again };

class Agent {
 public:
  // Starts ds01d and waits until it says that it is ready (or, with `expect_ready` false, what it says instead).
  explicit Agent(const std::string& yaml = kRichConfig, bool expect_ready = true, Start start = Start::fresh);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  pid_t pid() const { return pid_; }
  // The text of the notification that ended the wait: "READY=1", "STATUS=…".
  const std::string& notified() const { return notified_; }

  void reload(const std::string& yaml);  // writes the file, sends SIGHUP, waits for READY=1
  int stop();                            // SIGTERM; the exit status
  void kill();                           // SIGKILL; what is pinned stays
  // Starts it again with the same configuration, after stop() or kill().
  void start_again();
  void launch();  // the same, without a look at what it says
  std::string wait_notification();

  // All audit lines so far, those of one kind.
  std::vector<json::object> audit(const std::string& kind) const;
  // Waits until such a line is there (two minutes at most) and returns its last one.
  json::object wait_for_audit(const std::string& kind, const std::function<bool(const json::object&)>& matches) const;

 private:
  Fd notify_;
  pid_t pid_ = -1;
  std::string notified_;
};

// Takes away what agents leave behind: pins, store, audit file.
void forget_agents();

// The denials of `uid` for `device_class` as `ds01ctl denials` has them: {count, would_deny_count}.
struct Denials {
  std::int64_t denied = 0;
  std::int64_t would_deny = 0;
  bool operator==(const Denials&) const = default;
};
Denials denials_of(uid_t uid, const std::string& device_class = "gpu");

// One agent with kRichConfig for all tests of a suite.
class WithAgent : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  static Agent& agent() { return *agent_; }

  // `act` is denied with EACCES, counted once for `uid` and class `gpu`, and written to the audit with that uid.
  static void expect_denied(uid_t uid, const std::function<int()>& act);
  // `act` succeeds and nothing is counted as denied for `uid`.
  static void expect_allowed(uid_t uid, const std::function<int()>& act);

 private:
  static inline std::unique_ptr<Agent> agent_;
};

}  // namespace ds01::test
