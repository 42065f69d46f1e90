// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 over Unix stream sockets, the little that the control API needs. Boost stays behind this header: Beast in
// request_parser.cpp and client.cpp only, Asio in server.cpp and connection only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/fd.h"
#include "core/result.h"

namespace boost::asio {
class io_context;
}

namespace ds01::http {

// Who is at the other end, as the kernel recorded it at connect() (SO_PEERCRED). The server checks that every byte of a
// request was sent by this same process (SCM_CREDENTIALS), so a socket that was passed on carries no rights with it.
struct Peer {
  pid_t pid;
  uid_t uid;
  gid_t gid;
  Fd pidfd;             // SO_PEERPIDFD (Linux 6.5); empty where that failed
  int pidfd_error = 0;  // why it is empty: ENOPROTOOPT before 6.5; anything else must not pass for an old kernel
};

struct Request {
  std::string method;  // "GET"
  std::string path;    // "/v1/grants/g-1", percent-decoded UTF-8, without the query; no empty, "." or ".." segment
  std::string query;   // raw, behind the '?'; see parse_query
  std::string body;
};

struct Response {
  unsigned status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::string next_cursor{};  // of a list that goes on: the header Next-Cursor, for ?cursor= of the next page
};

struct Limits {
  std::size_t body_bytes = 64 * 1024;
  std::size_t header_bytes = 8 * 1024;     // request line and header; again for chunk sizes and trailers
  std::size_t connections = 256;           // per listener
  std::size_t connections_per_uid = 16;    // a connection over a limit takes the place of the longest idle one, if any
  unsigned requests_per_second = 50;       // per uid, with a burst of twice that
  uid_t unlimited_uid = 0;                 // bound by `connections` only
  std::chrono::milliseconds idle{10'000};  // for a request to begin, for all of it to arrive, for a reply to be taken
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;  // for the rate only
};

// Why a connection or request was turned away before it reached the handler; for the audit. Also a handler's exception.
// As frequent as a hostile client likes, so whoever logs it must limit it.
struct Rejection {
  const Peer& peer;
  std::string reason;
};

class Server {
 public:
  using Handler = std::function<Response(const Peer&, const Request&)>;
  using OnReject = std::function<void(const Rejection&)>;

  // Serves `listener` (a bound, listening Unix stream socket, best from listen_unix) on `io` until destroyed. The
  // handler runs on the thread that runs `io`; an exception from it becomes status 500. What the server itself refuses
  // gets error_response's JSON, with 400, 403 (sent by another process, or with descriptors), 413, 417, 429, 431, 503
  // or 505, and ends the connection. `io` must outlive the Server; destroy it on io's thread or while nobody runs io.
  Server(boost::asio::io_context& io, Fd listener, Limits limits, Handler handler, OnReject on_reject);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// Makes a listening Unix stream socket at `path` with `mode` and group `gid`, replacing a stale socket file; any other
// file, or a socket somebody listens on, is ErrorCode::conflict. Nobody can connect before the file has its final
// rights. The parent folder must exist. The path may have 107 bytes. `before_listen` runs when the file exists and
// nobody can connect to it yet; its error is passed on and the file removed.
Result<Fd> listen_unix(const std::filesystem::path& path, mode_t mode, gid_t gid,
                       const std::function<Status()>& before_listen = {});

// One request on a fresh connection, blocking, for at most `timeout`. Connection refused, missing socket, timeout or an
// answer that is not HTTP is ErrorCode::unavailable; EACCES at connect is ErrorCode::refused. Any HTTP status is a
// Response. `request.path` is not encoded yet, `request.query` is.
Result<Response> request(const std::filesystem::path& socket, const Request& request,
                         std::chrono::milliseconds timeout);

// The pairs of a query, percent-decoded ('+' stays '+'). "" has none; "a" is {"a", ""}. A repeated or empty key, a
// control character or malformed encoding is ErrorCode::invalid.
Result<std::map<std::string, std::string>> parse_query(std::string_view query);

// Everything but letters, digits and "-._~" as %XX: a key or value for Request::query.
std::string percent_encode(std::string_view text);

// The names of the codes in error bodies. An unknown name is ErrorCode::system.
std::string_view code_name(ErrorCode code);
ErrorCode code_of(std::string_view name);

// {"error": {"code": "not_found", "message": "…"}} with the status that belongs to the code.
Response error_response(const Error& error);

}  // namespace ds01::http
