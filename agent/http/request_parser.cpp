// SPDX-License-Identifier: Apache-2.0
#include "http/request_parser.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <utility>

namespace ds01::http {
namespace {

namespace beast_http = boost::beast::http;
using Parser = beast_http::request_parser<beast_http::string_body>;
using Message = Parser::value_type;
using beast_http::field;

Refusal invalid(std::string message) { return {400, {ErrorCode::invalid, std::move(message)}}; }

Refusal header_too_large(const Limits& limits) {
  return {431, {ErrorCode::too_large, fmt::format("the request's header is over {} bytes", limits.header_bytes)}};
}

Refusal refusal_of(boost::beast::error_code error, const Limits& limits) {
  if (error == beast_http::error::header_limit) return header_too_large(limits);
  if (error == beast_http::error::body_limit) {
    return {413, {ErrorCode::too_large, fmt::format("the request's body is over {} bytes", limits.body_bytes)}};
  }
  if (error == beast_http::error::bad_version) return {505, {ErrorCode::invalid, "only HTTP/1.0 and 1.1 are spoken"}};
  return invalid(fmt::format("malformed request: {}", error.message()));
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// Where a body ends must have one answer only; Beast is more lenient (lists and repeats of the same length).
std::optional<Refusal> check_framing(const Message& message) {
  const std::size_t lengths = message.count(field::content_length);
  const std::size_t encodings = message.count(field::transfer_encoding);
  if (lengths + encodings > 1) return invalid("more than one Content-Length or Transfer-Encoding");
  if (lengths == 1 && !all_digits(message[field::content_length])) return invalid("Content-Length is not a number");
  const bool chunked = boost::beast::iequals(message[field::transfer_encoding], "chunked");
  if (encodings == 1 && (!chunked || message.version() < 11)) return invalid("Transfer-Encoding must be chunked");
  return {};
}

std::optional<Refusal> check_unsupported(const Message& message) {
  if (message.count(field::upgrade) > 0) return invalid("Upgrade is not supported");
  const auto expected = message[field::expect];
  if (!expected.empty() && !boost::beast::iequals(expected, "100-continue")) {
    return Refusal{417, {ErrorCode::invalid, "Expect must be 100-continue"}};
  }
  return {};
}

std::optional<Refusal> check_no_body(const Message& message) {
  const auto method = message.method();
  const bool bare =
      method == beast_http::verb::get || method == beast_http::verb::head || method == beast_http::verb::delete_;
  const bool has_body = message.count(field::transfer_encoding) > 0 ||
                        message[field::content_length].find_first_not_of('0') != std::string_view::npos;
  if (bare && has_body) return invalid("GET, HEAD and DELETE have no body");
  return {};
}

}  // namespace

struct RequestParser::Impl {
  explicit Impl(const Limits& from) : limits(from) {
    // Beast counts the request line and the fields apart; put() counts them together.
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes));
    parser.body_limit(limits.body_bytes);
  }

  std::optional<Refusal> check_header();
  std::optional<Refusal> check_size(std::size_t rest) const;

  const Limits& limits;
  Parser parser;
  std::size_t used_by_header = 0;
  std::size_t used_by_body = 0;
  bool keep_alive = false;  // taken before trailers can add to the fields
  bool expects_continue = false;
  Target target;
};

std::optional<Refusal> RequestParser::Impl::check_header() {
  const Message& message = parser.get();
  for (const auto check : {check_framing, check_unsupported, check_no_body}) {
    if (auto refusal = check(message)) return refusal;
  }
  auto parsed = parse_target(message.target());
  if (!parsed) return invalid(std::move(parsed.error().message));
  target = std::move(*parsed);
  keep_alive = message.keep_alive();
  expects_continue = message.version() == 11 && message.count(field::expect) > 0;
  parser.eager(true);
  return {};
}

// Tiny chunks, chunk extensions and trailers would let a small body be any number of bytes long.
std::optional<Refusal> RequestParser::Impl::check_size(std::size_t rest) const {
  const std::size_t framing = used_by_body - std::min(used_by_body, parser.get().body().size());
  const std::size_t pending = parser.is_done() ? 0 : rest;
  const std::size_t header = parser.is_header_done() ? framing + pending : used_by_header + pending;
  if (std::max(header, used_by_header) > limits.header_bytes) return header_too_large(limits);
  return {};
}

RequestParser::RequestParser(const Limits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;

std::expected<std::size_t, Refusal> RequestParser::put(std::string_view bytes) {
  Impl& my = *impl_;
  std::size_t used = 0;
  while (used < bytes.size() && !done()) {
    const bool in_header = !my.parser.is_header_done();
    boost::beast::error_code error;
    const std::size_t n = my.parser.put(boost::asio::const_buffer(bytes.data() + used, bytes.size() - used), error);
    used += n;
    (in_header ? my.used_by_header : my.used_by_body) += n;
    if (error == beast_http::error::need_more) break;
    if (error) return std::unexpected(refusal_of(error, my.limits));
    if (in_header && my.parser.is_header_done()) {
      if (auto refusal = my.check_header()) return std::unexpected(std::move(*refusal));
    }
  }
  if (auto refusal = my.check_size(bytes.size() - used)) return std::unexpected(std::move(*refusal));
  return used;
}

bool RequestParser::done() const { return impl_->parser.is_done(); }

bool RequestParser::take_continue() { return !done() && std::exchange(impl_->expects_continue, false); }

bool RequestParser::keep_alive() const { return impl_->keep_alive; }

Request RequestParser::take() {
  Message& message = impl_->parser.get();
  return {.method = std::string(message.method_string()),
          .path = std::move(impl_->target.path),
          .query = std::move(impl_->target.query),
          .body = std::move(message.body())};
}

}  // namespace ds01::http
