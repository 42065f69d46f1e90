// SPDX-License-Identifier: Apache-2.0
// Plain system calls around Beast's parser: no io_context, no threads, for the sake of ds01ctl's start-up.
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>

#include "http/http.h"
#include "http/message.h"
#include "http/unix_address.h"

namespace ds01::http {
namespace {

namespace beast_http = boost::beast::http;
using Parser = beast_http::response_parser<beast_http::string_body>;

constexpr std::size_t kResponseBytes = 16 * 1024 * 1024;
constexpr std::size_t kReadSize = 16 * 1024;

std::string text_of(const Request& request) {
  std::string target = encode_path(request.path);
  if (!request.query.empty()) target += "?" + request.query;
  std::string out = fmt::format("{} {} HTTP/1.1\r\nHost: ds01\r\nConnection: close\r\n", request.method, target);
  if (!request.body.empty()) {
    out += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", request.body.size());
  }
  return out + "\r\n" + request.body;
}

// What goes into the request line must not be able to end it.
Status check(const Request& request) {
  const auto visible = [](char c) { return c > 0x20 && c < 0x7F; };
  if (request.method.empty() || !std::ranges::all_of(request.method, visible)) {
    return fail(ErrorCode::invalid, "the request's method is malformed");
  }
  if (!request.path.starts_with('/') || !std::ranges::all_of(request.query, visible)) {
    return fail(ErrorCode::invalid, fmt::format("{}: the request's path or query is malformed", request.path));
  }
  return {};
}

// One socket and the time that is left for it. The alarm is a timerfd, so that nothing here reads a clock.
class Exchange {
 public:
  Exchange(const std::filesystem::path& path, std::chrono::milliseconds timeout)
      : path_(path), timeout_(std::max(timeout, std::chrono::milliseconds(1))) {}

  Status connect();
  Status send(std::string_view text);
  Result<Response> read_response(bool without_body);

 private:
  Status set_alarm();
  Status wait(short events);
  Result<std::size_t> receive(char* room, std::size_t size);
  std::unexpected<Error> unavailable(std::string_view why) const {
    return fail(ErrorCode::unavailable, fmt::format("{}: {}", path_.native(), why));
  }

  const std::filesystem::path& path_;
  std::chrono::milliseconds timeout_;
  Fd socket_;
  Fd alarm_;
};

Status Exchange::set_alarm() {
  alarm_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout_);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout_ - seconds);
  const itimerspec once{.it_interval = {}, .it_value = {.tv_sec = seconds.count(), .tv_nsec = rest.count()}};
  if (!alarm_ || ::timerfd_settime(alarm_.get(), 0, &once, nullptr) < 0) return fail_errno("timerfd");
  return {};
}

Status Exchange::connect() {
  DS01_TRY(const sockaddr_un address, unix_address(path_));
  DS01_CHECK(set_alarm());
  socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket_) return fail_errno("socket");
  // Bounds connect() while the listener's queue is full: non-blocking it would fail at once, and cannot be polled for.
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout_);
  const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(timeout_ - seconds);
  const timeval bound{.tv_sec = seconds.count(), .tv_usec = rest.count()};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  if (::connect(socket_.get(), as_sockaddr(address), sizeof address) == 0) return {};
  switch (errno) {
    case EACCES:
    case EPERM: return fail(ErrorCode::refused, fmt::format("{}: not allowed to connect", path_.native()));
    case ENOENT:
    case ECONNREFUSED: return unavailable("nobody is listening; is ds01d running?");
    case EAGAIN: return unavailable("timed out while connecting");
    default: return fail_errno(path_.native());
  }
}

Status Exchange::wait(short events) {
  std::array<pollfd, 2> fds{
      {{.fd = socket_.get(), .events = events, .revents = 0}, {.fd = alarm_.get(), .events = POLLIN, .revents = 0}}};
  while (::poll(fds.data(), fds.size(), -1) < 0) {
    if (errno != EINTR) return fail_errno("poll");
  }
  if (fds[1].revents != 0) return unavailable(fmt::format("no answer within {} ms", timeout_.count()));
  return {};
}

Status Exchange::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      DS01_CHECK(wait(POLLOUT));
    } else if (errno != EINTR) {
      return {};  // the server closed early: it has said why, which is for the reader to find
    }
  }
  return {};
}

// 0 at the end.
Result<std::size_t> Exchange::receive(char* room, std::size_t size) {
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), room, size, MSG_DONTWAIT);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) {
      DS01_CHECK(wait(POLLIN));
    } else if (errno != EINTR) {
      return unavailable("the connection broke before the answer was complete");
    }
  }
}

Result<Response> Exchange::read_response(bool without_body) {
  Parser parser;
  parser.eager(true);
  parser.skip(without_body);
  parser.body_limit(kResponseBytes);
  std::array<char, kReadSize> room;
  std::string pending;
  while (!parser.is_done()) {
    DS01_TRY(const std::size_t size, receive(room.data(), room.size()));
    pending.append(room.data(), size);
    boost::beast::error_code error;
    if (size == 0 && !parser.got_some()) return unavailable("closed the connection without an answer");
    if (size == 0) parser.put_eof(error);
    if (size > 0) pending.erase(0, parser.put(boost::asio::buffer(pending), error));
    if (error && error != beast_http::error::need_more) return unavailable("bad answer: " + error.message());
  }
  const auto& message = parser.get();
  return Response{.status = message.result_int(),
                  .body = message.body(),
                  .content_type = std::string(message[beast_http::field::content_type]),
                  .next_cursor = std::string(message["Next-Cursor"])};
}

}  // namespace

Result<Response> request(const std::filesystem::path& socket, const Request& request,
                         std::chrono::milliseconds timeout) {
  DS01_CHECK(check(request));
  Exchange exchange(socket, timeout);
  DS01_CHECK(exchange.connect());
  DS01_CHECK(exchange.send(text_of(request)));
  return exchange.read_response(request.method == "HEAD");
}

}  // namespace ds01::http
