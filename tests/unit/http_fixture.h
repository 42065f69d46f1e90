// SPDX-License-Identifier: Apache-2.0
// What the tests of http share: a server on a thread of its own, clients without manners, child processes.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "http/http.h"

namespace ds01::http {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

inline constexpr auto kPatience = 20s;  // far more than needed: reaching it is a failure, never a delay
inline constexpr std::string_view kGet = "GET /hello HTTP/1.1\r\n\r\n";
inline constexpr uid_t kNobody = static_cast<uid_t>(-1);

inline std::string post(std::string_view fields, std::string_view body = "") {
  return fmt::format("POST / HTTP/1.1\r\n{}\r\n\r\n{}", fields, body);
}

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/ds01-http-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
    ::chmod(name, 0755);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A client without manners.
class Client {
 public:
  explicit Client(const std::filesystem::path& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.native().copy(address.sun_path, sizeof address.sun_path - 1);
    const timeval bound{.tv_sec = kPatience.count(), .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return socket_.get(); }
  bool send(std::string_view bytes) const {
    return ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // One reply by its Content-Length, or what came before the end.
  std::string reply() {
    for (;;) {
      const std::size_t head = buffer_.find("\r\n\r\n");
      const std::size_t mark = buffer_.find("Content-Length: ");
      if (head != std::string::npos && mark != std::string::npos) {
        const std::size_t size = head + 4 + std::strtoul(buffer_.c_str() + mark + 16, nullptr, 10);
        if (buffer_.size() >= size) return take(size);
      }
      if (!fill()) return take(buffer_.size());
    }
  }
  std::string until(std::string_view end) {
    while (buffer_.find(end) == std::string::npos && fill()) {
    }
    return take(std::min(buffer_.size(), buffer_.find(end) + end.size()));
  }
  std::string rest() {
    while (fill()) {
    }
    return take(buffer_.size());
  }
  // Whether the connection ends without another byte.
  bool ended() { return buffer_.empty() && rest().empty() && errno != EAGAIN; }
  bool readable_within(std::chrono::milliseconds time) const {
    pollfd ready{.fd = fd(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, static_cast<int>(time.count())) > 0;
  }
  std::string ask(std::string_view bytes) { return send(bytes) ? reply() : "send failed"; }

 private:
  bool fill() {
    std::array<char, 65536> room;
    errno = 0;
    const ssize_t n = ::recv(fd(), room.data(), room.size(), 0);
    if (n > 0) buffer_.append(room.data(), static_cast<std::size_t>(n));
    return n > 0;
  }
  std::string take(std::size_t size) {
    std::string out = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
  }

  Fd socket_;
  bool connected_ = false;
  std::string buffer_;
};

// Runs `body` in a child process; its result. In a child only what is safe beside a lost thread: no gtest, no exit
// handlers.
template <class Body>
bool in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline bool become(uid_t id) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(id, id, id) == 0 && ::setresuid(id, id, id) == 0;
}

class ServerFixture : public ::testing::Test {
 protected:
  ~ServerFixture() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  void start() {
    auto listener = listen_unix(path_, 0666, ::getgid());
    ASSERT_TRUE(listener) << listener.error().message;
    serve(std::move(*listener));
  }
  void serve(Fd listener) {
    server_ = std::make_unique<Server>(
        io_, std::move(listener), limits_, [this](const Peer& peer, const Request& r) { return handle(peer, r); },
        [this](const Rejection& rejection) {
          const std::lock_guard lock(mutex_);
          rejections_.push_back(rejection.reason);
          changed_.notify_all();
        });
    thread_ = std::thread([this] { io_.run(); });
  }
  Response handle(const Peer& peer, const Request& r) {
    ++handled_;
    if (r.path == "/throw") throw std::runtime_error("bug");
    if (r.path == "/big") return {.body = std::string(8U << 20U, 'x')};
    if (r.path == "/stop") server_.reset();
    return {.body = fmt::format("{} {} {} {} uid={}", r.method, r.path, r.query, r.body, peer.uid)};
  }
  std::string first_rejection() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return !rejections_.empty(); });
    return rejections_.empty() ? "none" : rejections_.front();
  }
  std::vector<std::string> rejections() {
    const std::lock_guard lock(mutex_);
    return rejections_;
  }
  void expect_refused(Client& client, std::string_view status, std::string_view code) {
    const std::string reply = client.rest();
    EXPECT_THAT(reply, ::testing::StartsWith(fmt::format("HTTP/1.1 {} ", status)));
    EXPECT_THAT(reply, ::testing::HasSubstr(fmt::format("{{\"error\": {{\"code\": \"{}\", \"message\": \"", code)));
    EXPECT_THAT(reply, ::testing::HasSubstr("Connection: close\r\n"));
    EXPECT_NE(first_rejection(), "none");
  }

  TempDir dir_;
  std::filesystem::path path_ = dir_ / "s";
  Limits limits_;
  std::atomic<int> handled_ = 0;
  boost::asio::io_context io_;
  std::unique_ptr<Server> server_;

 private:
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> rejections_;
};

}  // namespace ds01::http
