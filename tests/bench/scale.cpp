// SPDX-License-Identifier: Apache-2.0
// What many grants cost the agent: its start with 100,000, a page of its list, and 10,000 that end in one second. Runs
// as root in the VM under `-icount shift=0`. Prints a JSON object of figures.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/paths.h"
#include "database/database.h"
#include "grants/store.h"
#include "http/http.h"

namespace {

using namespace ds01;
using namespace std::chrono_literals;
namespace json = boost::json;

constexpr uid_t kFirst = 2'000'000;
constexpr const char* kNotify = "/tmp/bench-notify.sock";
constexpr const char* kDevice = "/dev/nvidia0";
constexpr int kPatienceMs = 120'000;
const SystemClock clocks;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  ::_exit(1);
}

json::object figure(double value, double goal, const char* unit) {
  return {{"value", value}, {"unit", unit}, {"baseline", 0}, {"goal", goal}};
}

double since(BootTime begin, std::chrono::nanoseconds unit) {
  return static_cast<double>((clocks.boot() - begin).count()) / static_cast<double>(unit.count());
}

// An empty machine but for these grants in the store.
void store_grants(std::size_t count, const End& end) {
  if (std::system("ds01d --detach") != 0) die("ds01d --detach");
  std::filesystem::remove_all("/var/lib/ds01");
  database::Database database(paths::kDatabase);
  grants::Store store(database, clocks);
  const auto stored = store.transaction([&]() -> Status {
    for (std::size_t i = 0; i < count; ++i) {
      grants::Grant grant;
      grant.subject.uid = kFirst + static_cast<uid_t>(i);
      grant.created = clocks.wall();
      grant.end = end;
      grant.term = 1h;
      grant.warned = 0s;
      grant.granted_by = {0, "root", std::nullopt};
      grant.reason = "bench";
      DS01_CHECK(store.add(grant));
    }
    return {};
  });
  if (!stored) die(stored.error().message);
}

class Agent {
 public:
  // Starts ds01d and waits until it is ready.
  Agent() {
    ::unlink(kNotify);
    const Fd notify(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, kNotify, sizeof address.sun_path - 1);
    if (::bind(notify.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setenv("NOTIFY_SOCKET", kNotify, 1);
      ::execlp("ds01d", "ds01d", "--config", "/tmp/agent.yaml", nullptr);
      ::_exit(127);
    }
    char text[64] = {};
    pollfd ready{notify.get(), POLLIN, 0};
    if (::poll(&ready, 1, kPatienceMs) != 1) die("ds01d said nothing in time");
    if (::recv(notify.get(), text, sizeof text - 1, 0) <= 0 || std::string(text) != "READY=1")
      die("ds01d is not ready");
  }
  ~Agent() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

 private:
  pid_t pid_;
};

double answer_ms(const std::string& path, const std::string& query) {
  const auto begin = clocks.boot();
  const auto response = http::request("/run/ds01/admin.sock", {"GET", path, query, ""}, 30s);
  if (!response || response->status != 200) die(path);
  return since(begin, 1ms);
}

void add_start_and_list(json::object& figures) {
  store_grants(100'000, clocks.boot() + 24h);
  const auto begin = clocks.boot();
  const Agent agent;
  figures["start_100k_ms"] = figure(since(begin, 1ms), 3000, "ms");
  figures["list_100k_ms"] = figure(answer_ms("/v1/grants", "limit=1000&cursor=50000"), 300, "ms");
}

// In a process of its own: opens without a pause until it is denied, and says how long after the end that was.
int watch_end(uid_t uid, BootTime end) {
  int pipe_fds[2];
  if (::pipe(pipe_fds) != 0) die("pipe");
  if (::fork() == 0) {
    if (::setresuid(uid, uid, uid) != 0) die("setresuid");
    int fd;
    while ((fd = ::open(kDevice, O_RDONLY | O_CLOEXEC)) >= 0) {
      ::close(fd);
      if (clocks.boot() < end - 100ms) ::sched_yield();
    }
    const auto late = since(end, 1us);
    ::_exit(::write(pipe_fds[1], &late, sizeof late) == sizeof late ? 0 : 1);
  }
  ::close(pipe_fds[1]);
  return pipe_fds[0];
}

std::int64_t active_grants() {
  const auto response = http::request("/run/ds01/admin.sock", {"GET", "/v1/status", "", ""}, 30s);
  if (!response) die("status");
  return json::parse(response->body).at("grants_active").as_int64();
}

void add_mass_expiry(json::object& figures) {
  constexpr std::size_t kCount = 10'000;
  const auto end = clocks.boot() + 15s;
  store_grants(kCount, end);
  const Agent agent;
  if (clocks.boot() > end - 1s) die("the start took too long for the deadline");
  const int late_pipe = watch_end(kFirst, end);
  while (clocks.boot() < end) ::sched_yield();
  std::vector<double> answers;
  do {
    if (clocks.boot() > end + 120s) die("the grants that have ended are still in the store");
    answers.push_back(answer_ms("/v1/grants", "limit=1"));
  } while (active_grants() != 0);
  double late = 0;
  pollfd ready{late_pipe, POLLIN, 0};
  if (::poll(&ready, 1, kPatienceMs) != 1) die("an open goes on after the end of its grant");
  if (::read(late_pipe, &late, sizeof late) != sizeof late) die("the watcher of the end");
  figures["api_during_mass_expiry_ms"] = figure(*std::ranges::max_element(answers), 50, "ms");
  figures["expiry_lateness_us"] = figure(late, 100, "us");
  database::Database database(paths::kDatabase);
  std::int64_t left = -1;
  (void)database.run("SELECT count(*) FROM grants WHERE state != 'expired'", {},
                     [&](const database::Row& row) { left = row.integer(0); });
  figures["store_unclean_after_mass_expiry"] = figure(static_cast<double>(left), 0, "grants");
}

}  // namespace

int main() {
  json::object figures;
  add_start_and_list(figures);
  add_mass_expiry(figures);
  std::puts(json::serialize(figures).c_str());
  return 0;
}
