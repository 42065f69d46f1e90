// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ds01::test {
namespace {

constexpr const char* kConfigFile = "/tmp/agent.yaml";
constexpr const char* kNotifySocket = "/tmp/notify.sock";
constexpr const char* kAuditFile = "/tmp/audit.jsonl";
constexpr int kPatience = 120'000;  // ms; an emulated machine is slow

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  ::_exit(255);
}

void require(bool ok, const char* what) {
  if (!ok) die(what);
}

void write_file(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  require(fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), path.c_str());
}

sockaddr_un unix_address(const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return address;
}

void become(uid_t uid) {
  if (uid == 0) return;
  require(::initgroups(uid == kCarol ? "carol" : uid == kBob ? "bob" : "nobody", uid) == 0, "initgroups");
  require(::setresgid(uid, uid, uid) == 0 && ::setresuid(uid, uid, uid) == 0, "setresuid");
  // Without an exec the kernel keeps /proc/self from a process that changed its uid.
  require(::prctl(PR_SET_DUMPABLE, 1) == 0, "prctl");
}

void map_root(uid_t uid) {
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
}

int wait_for(pid_t child) {
  int status = 0;
  require(::waitpid(child, &status, 0) == child, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Sets the calling child up and returns in the process that is to act.
void set_up(const As& as) {
  if (as.cgroup != "/") write_file("/sys/fs/cgroup" + as.cgroup + "/cgroup.procs", "0");
  if (as.pid_namespace) {
    require(::unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP) == 0, "unshare");
    const pid_t inner = ::fork();
    require(inner >= 0, "fork");
    if (inner > 0) ::_exit(wait_for(inner) & 0xff);
  }
  become(as.uid);
  if (as.user_namespace) {
    require(::unshare(CLONE_NEWUSER) == 0, "unshare user namespace");
    map_root(as.uid);
  }
}

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

Fd temporary_file() { return Fd(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)); }

std::string contents(const Fd& file) {
  ::lseek(file.get(), 0, SEEK_SET);
  return read_all(file.get());
}

}  // namespace

const char* const kRichConfig = R"(
version: 1
mode: full
allow: {cgroups: [/ds01.slice]}
exempt:
  groups: [gpu-admins]
  cgroups: [/exempt.slice]
  rules: [{cgroup: /paired.slice, user: bob}]
deny: {users: [dave]}
audit: {limit: 100000, journald: false, json: /tmp/audit.jsonl}
)";

bool eventually(const std::function<bool()>& is_so) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "not within " << kPatience << " ms";
      return false;
    }
    ::sched_yield();
  }
  return true;
}

int open_errno(const char* path, int flags) {
  const Fd fd(::open(path, flags | O_CLOEXEC));
  return fd ? 0 : errno;
}

int connect_errno(const char* path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = unix_address(path);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

namespace {

// One byte, and room for one descriptor.
struct Message {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};
  Message() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
};

}  // namespace

bool send_descriptor(int socket, int fd) {
  Message message;
  cmsghdr* header = CMSG_FIRSTHDR(&message.header);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return ::sendmsg(socket, &message.header, 0) == 1;
}

Fd receive_descriptor(int socket) {
  Message message;
  if (::recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC) != 1) return Fd();
  const cmsghdr* header = CMSG_FIRSTHDR(&message.header);
  if (header == nullptr) return Fd();
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

Cgroup::Cgroup(std::string path) : path_(std::move(path)) {
  std::filesystem::path folder = "/sys/fs/cgroup";
  for (const auto& part : std::filesystem::path(path_).relative_path()) {
    folder /= part;
    if (::mkdir(folder.c_str(), 0755) == 0) made_.push_back(folder);
  }
  EXPECT_TRUE(std::filesystem::is_directory(folder)) << folder;
}

Cgroup::~Cgroup() {
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) ::rmdir(folder->c_str());
}

int run_as(const As& as, const std::function<int()>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    set_up(as);
    ::_exit(act() & 0xff);
  }
  return wait_for(child);
}

int open_as(const As& as, const char* path, int flags) {
  return run_as(as, [&] { return open_errno(path, flags); });
}

Outcome run_command(const std::vector<std::string>& arguments, const As& as) {
  const Fd out = temporary_file();
  const Fd err = temporary_file();
  const int code = run_as(as, [&] {
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(err.get(), STDERR_FILENO);
    std::vector<char*> argv;
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    return 127;
  });
  return {code, contents(out), contents(err)};
}

Outcome ctl(std::vector<std::string> arguments, const As& as) {
  arguments.insert(arguments.begin(), "ds01ctl");
  return run_command(arguments, as);
}

json::value ctl_json(std::vector<std::string> arguments, const As& as) {
  arguments.insert(arguments.begin(), {"-o", "json"});
  const auto outcome = ctl(arguments, as);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  boost::system::error_code error;
  auto value = json::parse(outcome.out, error);
  EXPECT_FALSE(error) << outcome.out;
  return value;
}

void forget_agents() {
  EXPECT_EQ(run_command({"ds01d", "--detach"}).code, 0);
  std::filesystem::remove_all("/var/lib/ds01");
  ::unlink(kAuditFile);
}

Agent::Agent(const std::string& yaml, bool expect_ready, Start start) {
  if (start == Start::fresh) forget_agents();
  ::unlink(kNotifySocket);
  write_file(kConfigFile, yaml);
  notify_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto address = unix_address(kNotifySocket);
  EXPECT_EQ(::bind(notify_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  launch();
  notified_ = wait_notification();
  EXPECT_EQ(notified_ == "READY=1", expect_ready) << notified_;
}

Agent::~Agent() {
  if (pid_ > 0) stop();
}

void Agent::launch() {
  // What agents before it said, who were killed before anybody listened: a full queue would hold the next one up.
  char text[2048];
  while (::recv(notify_.get(), text, sizeof text, MSG_DONTWAIT) >= 0) continue;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::setenv("NOTIFY_SOCKET", kNotifySocket, 1);
    ::execlp("ds01d", "ds01d", "--config", kConfigFile, nullptr);
    die("ds01d");
  }
}

void Agent::start_again() {
  launch();
  notified_ = wait_notification();
  EXPECT_EQ(notified_, "READY=1");
}

int Agent::stop() {
  if (pid_ <= 0) return -1;
  ::kill(pid_, SIGTERM);
  return wait_for(std::exchange(pid_, -1));
}

void Agent::kill() {
  ASSERT_GT(pid_, 0);
  ::kill(pid_, SIGKILL);
  EXPECT_EQ(wait_for(std::exchange(pid_, -1)), -1);
}

std::string Agent::wait_notification() {
  char text[2048];
  for (;;) {
    pollfd ready{notify_.get(), POLLIN, 0};
    if (::poll(&ready, 1, kPatience) != 1) return "nothing in time";
    const ssize_t length = ::recv(notify_.get(), text, sizeof text, 0);
    std::string message(text, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    if (message != "RELOADING=1" && message != "STOPPING=1") return message;
  }
}

void Agent::reload(const std::string& yaml) {
  write_file(kConfigFile, yaml);
  ::kill(pid_, SIGHUP);
  EXPECT_EQ(wait_notification(), "READY=1");
}

std::vector<json::object> Agent::audit(const std::string& kind) const {
  std::ifstream file(kAuditFile);
  std::vector<json::object> found;
  for (std::string line; std::getline(file, line);) {
    boost::system::error_code error;
    auto value = json::parse(line, error);
    if (error) continue;  // the last line, while it is being written
    if (value.at("unmapped").at("kind").as_string() == kind) found.push_back(value.as_object());
  }
  return found;
}

json::object Agent::wait_for_audit(const std::string& kind,
                                   const std::function<bool(const json::object&)>& matches) const {
  const Fd watch(::inotify_init1(IN_CLOEXEC));
  ::inotify_add_watch(watch.get(), kAuditFile, IN_MODIFY);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
  for (;;) {
    const auto lines = audit(kind);
    for (auto line = lines.rbegin(); line != lines.rend(); ++line)
      if (matches(*line)) return *line;
    pollfd ready{watch.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::poll(&ready, 1, static_cast<int>(left.count())) != 1) break;
    char buffer[4096];
    (void)!::read(watch.get(), buffer, sizeof buffer);
  }
  ADD_FAILURE() << "no audit line of kind " << kind << " came";
  return {};
}

Denials denials_of(uid_t uid, const std::string& device_class, const std::string& hook) {
  const auto rows = ctl_json({"denials"});
  Denials sum;
  for (const auto& row : rows.as_array()) {
    if (row.at("uid").as_int64() != uid || row.at("class").as_string() != device_class) continue;
    if (!hook.empty() && row.at("hook").as_string() != hook) continue;
    sum.denied += row.at("count").as_int64();
    sum.would_deny += row.at("would_deny_count").as_int64();
  }
  return sum;
}

void WithAgent::SetUpTestSuite() {
  std::ifstream groups("/etc/group");
  const std::string text((std::istreambuf_iterator<char>(groups)), {});
  if (text.find("gpu-admins") == std::string::npos)
    std::ofstream("/etc/group", std::ios::app) << "gpu-admins:x:991:mallory\n";
  agent_ = std::make_unique<Agent>();
}

void WithAgent::TearDownTestSuite() { agent_.reset(); }

void WithAgent::expect_denied(uid_t uid, const std::function<int()>& act, const std::string& device_class,
                              const std::string& hook) {
  const auto before = denials_of(uid, device_class, hook);
  const auto lines_before = agent().audit("denial").size();
  EXPECT_EQ(act(), EACCES);
  EXPECT_EQ(denials_of(uid, device_class, hook), (Denials{before.denied + 1, before.would_deny}));
  std::size_t seen = 0;
  agent().wait_for_audit("denial", [&](const json::object& line) {
    (void)line;
    const auto lines = agent().audit("denial");
    seen = lines.size();
    return seen > lines_before && lines.back().at("unmapped").at("uid").to_number<uid_t>() == uid;
  });
}

void WithAgent::expect_allowed(uid_t uid, const std::function<int()>& act) {
  const auto before = denials_of(uid);
  EXPECT_EQ(act(), 0);
  EXPECT_EQ(denials_of(uid), before);
}

}  // namespace ds01::test
