// SPDX-License-Identifier: Apache-2.0
#include "http/connection.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <string_view>

#include "http/peer.h"

namespace ds01::http {
namespace {

using boost::system::error_code;

constexpr std::size_t kReadSize = 16 * 1024;
constexpr std::size_t kDrainBytes = 1024 * 1024;

}  // namespace

template <void (Connection::*Then)()>
void Connection::wait(Descriptor::wait_type what) {
  socket_.async_wait(what, [self = shared_from_this()](error_code error) {
    if (!self->socket_.is_open()) return;
    if (error) return self->close();
    (self.get()->*Then)();
  });
}

void Connection::set_deadline() {
  deadline_.expires_after(host_->limits().idle);
  // A handler that was queued when its timer was set anew runs with success all the same: the serial tells.
  deadline_.async_wait([self = shared_from_this(), serial = ++deadline_serial_](error_code error) {
    if (!error && serial == self->deadline_serial_ && self->socket_.is_open()) self->on_deadline();
  });
}

void Connection::on_deadline() {
  if (phase_ == Phase::reading) host_->report(peer_, "the request did not arrive in time");
  if (phase_ == Phase::replying) host_->report(peer_, "the reply was not taken in time");
  close();
}

void Connection::close() {
  if (!socket_.is_open()) return;
  error_code ignored;
  socket_.close(ignored);
  deadline_.cancel();
  host_->forget(shared_from_this());
}

// May be closed without loss: nothing received or on its way.
bool Connection::is_idle() {
  if (phase_ == Phase::draining) return true;
  int queued = 0;
  return phase_ == Phase::idle && buffer_.empty() && ::ioctl(socket_.native_handle(), FIONREAD, &queued) == 0 &&
         queued == 0;
}

void Connection::next_request() {
  phase_ = Phase::idle;
  idle_since_ = host_->next_serial();
  set_deadline();
  if (buffer_.empty()) return wait<&Connection::on_readable>(Descriptor::wait_read);
  // Pipelined. Through the queue, so that the stack stays flat and others get their turn.
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->socket_.is_open()) self->parse();
  });
}

void Connection::on_readable() {
  std::array<char, kReadSize> room;
  const Received got = receive(socket_.native_handle(), room, peer_);
  switch (got.what) {
    case Incoming::nothing_yet: return wait<&Connection::on_readable>(Descriptor::wait_read);
    case Incoming::end: return close();
    case Incoming::foreign:
      return refuse(
          {403, {ErrorCode::refused, "the sender is not the process that connected (same pid, uid and gid)"}});
    case Incoming::descriptors: return refuse({403, {ErrorCode::refused, "file descriptors are not accepted"}});
    case Incoming::bytes: buffer_.append(room.data(), got.size); return parse();
  }
}

void Connection::parse() {
  if (!parser_) {
    phase_ = Phase::reading;
    set_deadline();
    // Before anything is parsed, so that malformed requests cost a token as well.
    if (!host_->within_rate(peer_.uid)) return refuse({429, {ErrorCode::limited, "too many requests; wait a second"}});
    parser_.emplace(host_->limits());
  }
  const auto used = parser_->put(buffer_);
  if (!used) return refuse(used.error());
  buffer_.erase(0, *used);
  if (parser_->done()) return answer();
  if (parser_->take_continue() && !send_continue()) return close();
  wait<&Connection::on_readable>(Descriptor::wait_read);
}

// Earlier replies have been taken by the kernel; where 25 bytes more do not fit, the client does not read at all.
bool Connection::send_continue() {
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  const ssize_t n = ::send(socket_.native_handle(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n == static_cast<ssize_t>(kContinue.size());
}

void Connection::answer() {
  const bool keep_alive = parser_->keep_alive();
  const Request request = parser_->take();
  parser_.reset();
  const Response response = host_->handle(peer_, request);
  if (!socket_.is_open()) return;  // the handler stopped the server
  send(serialize(response, keep_alive, request.method == "HEAD"), keep_alive);
}

void Connection::refuse(const Refusal& refusal) {
  host_->report(peer_, refusal.error.message);
  if (socket_.is_open()) send(serialize(refusal_response(refusal), false, false), false);
}

void Connection::send(std::string reply, bool keep_alive) {
  phase_ = Phase::replying;
  reply_ = std::move(reply);
  sent_ = 0;
  keep_alive_ = keep_alive;
  set_deadline();
  write_some();
}

void Connection::write_some() {
  while (sent_ < reply_.size()) {
    const ssize_t n =
        ::send(socket_.native_handle(), reply_.data() + sent_, reply_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return wait<&Connection::write_some>(Descriptor::wait_write);
    if (n < 0) return close();
    sent_ += static_cast<std::size_t>(n);
  }
  keep_alive_ ? next_request() : drain();
}

// Closing with bytes unread would break the client's send with EPIPE before it has read our reply (curl then shows
// nothing but that), so what it still sends is read and thrown away, for a while.
void Connection::drain() {
  phase_ = Phase::draining;
  set_deadline();
  ::shutdown(socket_.native_handle(), SHUT_WR);
  wait<&Connection::on_drainable>(Descriptor::wait_read);
}

void Connection::on_drainable() {
  std::array<char, kReadSize> room;
  const ssize_t n = ::recv(socket_.native_handle(), room.data(), room.size(), MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return close();
  drained_ += n > 0 ? static_cast<std::size_t>(n) : 0;
  if (drained_ > kDrainBytes) return close();
  wait<&Connection::on_drainable>(Descriptor::wait_read);
}

}  // namespace ds01::http
