// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <exception>
#include <optional>
#include <unordered_set>
#include <utility>

#include "http/connection.h"
#include "http/http.h"
#include "http/message.h"
#include "http/peer.h"
#include "http/rate_limit.h"

namespace ds01::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::milliseconds kAcceptBackoff{100};

}  // namespace

class Server::Impl final : public Host, public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, Fd listener, Limits limits, Handler handler, OnReject on_reject);

  void accept_next();
  void stop();

  const Limits& limits() const override { return limits_; }
  bool within_rate(uid_t uid) override { return uid == limits_.unlimited_uid || rate_.allow(uid, limits_.now()); }
  Response handle(const Peer& peer, const Request& request) override;
  void report(const Peer& peer, std::string reason) override { on_reject_({peer, std::move(reason)}); }
  void forget(const std::shared_ptr<Connection>& connection) override { connections_.erase(connection); }
  unsigned long next_serial() override { return ++serial_; }

 private:
  void accept_one();
  void back_off();
  void admit(Fd socket);
  std::optional<Refusal> make_room(uid_t uid);
  bool close_longest_idle(std::optional<uid_t> uid);

  asio::io_context& io_;
  Descriptor listener_;
  asio::steady_timer backoff_;
  Limits limits_;
  Handler handler_;
  OnReject on_reject_;
  RateLimit rate_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  unsigned long serial_ = 0;
  bool stopped_ = false;
};

Server::Impl::Impl(asio::io_context& io, Fd listener, Limits limits, Handler handler, OnReject on_reject)
    : io_(io),
      listener_(io, listener.release()),
      backoff_(io),
      limits_(std::move(limits)),
      handler_(std::move(handler)),
      on_reject_(std::move(on_reject)),
      rate_(limits_.requests_per_second, 2.0 * limits_.requests_per_second) {}

void Server::Impl::accept_next() {
  listener_.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code error) {
    if (self->stopped_) return;
    error ? self->back_off() : self->accept_one();
  });
}

void Server::Impl::accept_one() {
  Fd socket(::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) return back_off();
  if (socket) admit(std::move(socket));
  if (!stopped_) accept_next();
}

// EMFILE and its like: the listener stays readable, so waiting for it would spin.
void Server::Impl::back_off() {
  backoff_.expires_after(kAcceptBackoff);
  backoff_.async_wait([self = shared_from_this()](error_code) {
    if (!self->stopped_) self->accept_next();
  });
}

void Server::Impl::admit(Fd socket) {
  auto peer = peer_of(socket.get());
  // A listener that did not have the option when the client connected does not hand it on.
  if (!peer || !pass_credentials(socket.get())) return;
  if (const auto refusal = make_room(peer->uid)) {
    report(*peer, refusal->error.message);
    const std::string reply = serialize(refusal_response(*refusal), false, false);
    ::send(socket.get(), reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT);  // fits into the empty buffer
    return;
  }
  auto connection = std::make_shared<Connection>(shared_from_this(), io_, std::move(socket), std::move(*peer));
  connections_.insert(connection);
  connection->start();
}

std::optional<Refusal> Server::Impl::make_room(uid_t uid) {
  const auto of_uid = std::ranges::count_if(connections_, [&](const auto& c) { return c->uid() == uid; });
  const bool many = uid != limits_.unlimited_uid && static_cast<std::size_t>(of_uid) >= limits_.connections_per_uid;
  if (many && !close_longest_idle(uid)) {
    return Refusal{429, {ErrorCode::limited, "too many connections of this user; close some"}};
  }
  if (connections_.size() >= limits_.connections && !close_longest_idle({})) {
    return Refusal{503, {ErrorCode::unavailable, "too many connections; try again"}};
  }
  return {};
}

// Whoever keeps connections open without using them must not keep others out.
bool Server::Impl::close_longest_idle(std::optional<uid_t> uid) {
  std::shared_ptr<Connection> found;
  for (const auto& connection : connections_) {
    const bool older = !found || connection->idle_since() < found->idle_since();
    if (older && (!uid || connection->uid() == *uid) && connection->is_idle()) found = connection;
  }
  if (found) found->close();
  return found != nullptr;
}

// A bug in one handler must cost one request, not the daemon.
Response Server::Impl::handle(const Peer& peer, const Request& request) {
  try {
    return handler_(peer, request);
  } catch (const std::exception& error) {
    report(peer, fmt::format("{} {} failed: {}", request.method, request.path, error.what()));
    return error_response({ErrorCode::system, "internal error"});
  }
}

void Server::Impl::stop() {
  stopped_ = true;
  error_code ignored;
  listener_.close(ignored);
  backoff_.cancel();
  for (const auto& connection : std::exchange(connections_, {})) connection->close();
}

Server::Server(asio::io_context& io, Fd listener, Limits limits, Handler handler, OnReject on_reject) {
  // Best effort, as is O_NONBLOCK: without them every request is refused, or accept waits for one more client.
  (void)pass_credentials(listener.get());
  ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  impl_ = std::make_shared<Impl>(io, std::move(listener), std::move(limits), std::move(handler), std::move(on_reject));
  impl_->accept_next();
}

Server::~Server() { impl_->stop(); }

}  // namespace ds01::http
