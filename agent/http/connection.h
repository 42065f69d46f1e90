// SPDX-License-Identifier: Apache-2.0
// One client of the Server: reads requests, has them answered one after the other, and keeps it to its limits.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/fd.h"
#include "http/http.h"
#include "http/message.h"
#include "http/request_parser.h"

namespace ds01::http {

class Connection;

// What a connection asks of its server.
class Host {
 public:
  virtual ~Host() = default;
  virtual const Limits& limits() const = 0;
  virtual bool within_rate(uid_t uid) = 0;
  virtual Response handle(const Peer& peer, const Request& request) = 0;
  virtual void report(const Peer& peer, std::string reason) = 0;
  virtual void forget(const std::shared_ptr<Connection>& connection) = 0;
  virtual unsigned long next_serial() = 0;  // ever larger
};

// One client. Waiting handlers keep it alive; the server's set and these let go of it in close().
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Descriptor = boost::asio::posix::stream_descriptor;

  Connection(std::shared_ptr<Host> host, boost::asio::io_context& io, Fd socket, Peer peer)
      : host_(std::move(host)), socket_(io, socket.release()), deadline_(io), peer_(std::move(peer)) {}

  void start() { next_request(); }
  void close();

  uid_t uid() const { return peer_.uid; }
  bool is_idle();
  unsigned long idle_since() const { return idle_since_; }

 private:
  enum class Phase { idle, reading, replying, draining };

  template <void (Connection::*Then)()>
  void wait(Descriptor::wait_type what);
  void set_deadline();
  void on_deadline();

  void next_request();
  void on_readable();
  void parse();
  bool send_continue();
  void answer();
  void refuse(const Refusal& refusal);
  void send(std::string reply, bool keep_alive);
  void write_some();
  void drain();
  void on_drainable();

  std::shared_ptr<Host> host_;
  Descriptor socket_;
  boost::asio::steady_timer deadline_;
  Peer peer_;
  Phase phase_ = Phase::idle;
  unsigned long idle_since_ = 0;
  unsigned long deadline_serial_ = 0;
  std::string buffer_;  // received, not parsed; less than header_bytes + kReadSize
  std::optional<RequestParser> parser_;
  std::string reply_;
  std::size_t sent_ = 0;
  std::size_t drained_ = 0;
  bool keep_alive_ = false;
};

}  // namespace ds01::http
