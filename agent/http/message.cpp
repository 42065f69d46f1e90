// SPDX-License-Identifier: Apache-2.0
#include "http/message.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/files.h"

namespace ds01::http {
namespace {

struct CodeRow {
  ErrorCode code;
  std::string_view name;
  unsigned status;
};
constexpr std::array<CodeRow, 8> kCodes{{
    {ErrorCode::invalid, "invalid", 400},
    {ErrorCode::refused, "refused", 403},
    {ErrorCode::not_found, "not_found", 404},
    {ErrorCode::conflict, "conflict", 409},
    {ErrorCode::too_large, "too_large", 413},
    {ErrorCode::limited, "limited", 429},
    {ErrorCode::unavailable, "unavailable", 503},
    {ErrorCode::system, "system", 500},
}};

const CodeRow& row_of(ErrorCode code) {
  const auto* row = std::ranges::find(kCodes, code, &CodeRow::code);
  return row != kCodes.end() ? *row : kCodes.back();
}

constexpr std::array<std::pair<unsigned, std::string_view>, 16> kReasons{{
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {413, "Payload Too Large"},
    {417, "Expectation Failed"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
}};

std::string_view reason_phrase(unsigned status) {
  const auto* row = std::ranges::find(kReasons, status, [](const auto& reason) { return reason.first; });
  return row != kReasons.end() ? row->second : "Status";
}

// How many bytes the well-formed UTF-8 character at the start of `text` has; 0 where there is none.
std::size_t utf8_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  const bool bad = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
                   (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F);
  return bad ? 0 : size;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Names in messages come from users, who may have put anything into them; the reply must stay JSON all the same.
std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    const char c = text.front();
    if (size == 0) {
      out += '?';
    } else if (is_control(c)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out + '"';
}

Status check_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    if (size == 0) return fail(ErrorCode::invalid, "percent-encoded text is not UTF-8");
    if (is_control(text.front())) return fail(ErrorCode::invalid, "control characters are not allowed");
    text.remove_prefix(size);
  }
  return {};
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
  return {};
}

// No locale: isalnum would ask for one.
bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

std::string encode(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || (keep_slash && c == '/')) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

// Checked after decoding, so that "%2e%2e" and "%2F" are seen for what they are.
Status check_path(std::string_view path) {
  if (path.find("//") != std::string_view::npos) return fail(ErrorCode::invalid, "the path has an empty segment");
  const auto is_dots = [](std::string_view segment) { return segment == "." || segment == ".."; };
  if (std::ranges::any_of(split(path, '/'), is_dots)) {
    return fail(ErrorCode::invalid, "the path has a \".\" or \"..\" segment");
  }
  return {};
}

}  // namespace

Response refusal_response(const Refusal& refusal) {
  return {.status = refusal.status,
          .body = fmt::format("{{\"error\": {{\"code\": \"{}\", \"message\": {}}}}}\n", row_of(refusal.error.code).name,
                              json_string(refusal.error.message))};
}

std::string_view code_name(ErrorCode code) { return row_of(code).name; }

ErrorCode code_of(std::string_view name) {
  const auto* row = std::ranges::find(kCodes, name, &CodeRow::name);
  return row != kCodes.end() ? row->code : ErrorCode::system;
}

Response error_response(const Error& error) { return refusal_response({row_of(error.code).status, error}); }

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
    const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
    if (!low) return fail(ErrorCode::invalid, "bad percent-encoding: '%' needs two hex digits");
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  DS01_CHECK(check_text(out));
  return out;
}

std::string percent_encode(std::string_view text) { return encode(text, false); }

std::string encode_path(std::string_view path) { return encode(path, true); }

Result<Target> parse_target(std::string_view raw) {
  if (!raw.starts_with('/')) {
    return fail(ErrorCode::invalid, "the request target must be a path that starts with '/'");
  }
  const bool visible = std::ranges::all_of(raw, [](char c) { return c > 0x20 && c < 0x7F; });
  if (!visible || raw.find('#') != std::string_view::npos) {
    return fail(ErrorCode::invalid, "the request target has a character that must be percent-encoded");
  }
  const std::size_t mark = raw.find('?');
  DS01_TRY(std::string path, percent_decode(raw.substr(0, mark)));
  DS01_CHECK(check_path(path));
  const std::string_view query = mark == std::string_view::npos ? "" : raw.substr(mark + 1);
  return Target{std::move(path), std::string(query)};
}

Result<std::map<std::string, std::string>> parse_query(std::string_view query) {
  std::map<std::string, std::string> out;
  for (const std::string_view pair : split(query, '&')) {
    const std::size_t mark = pair.find('=');
    DS01_TRY(std::string key, percent_decode(pair.substr(0, mark)));
    DS01_TRY(std::string value, percent_decode(mark == std::string_view::npos ? "" : pair.substr(mark + 1)));
    if (key.empty()) return fail(ErrorCode::invalid, "the query has an empty key");
    if (!out.try_emplace(key, std::move(value)).second) {
      return fail(ErrorCode::invalid, fmt::format("the query has '{}' more than once", key));
    }
  }
  return out;
}

std::string serialize(const Response& response, bool keep_alive, bool without_body) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  const bool bodyless = response.status == 204 || response.status == 304;  // a Content-Length there would be an error
  if (!bodyless) {
    out += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", response.content_type, response.body.size());
  }
  if (!response.next_cursor.empty()) out += fmt::format("Next-Cursor: {}\r\n", response.next_cursor);
  out += fmt::format("Connection: {}\r\n\r\n", keep_alive ? "keep-alive" : "close");
  if (!bodyless && !without_body) out += response.body;
  return out;
}

}  // namespace ds01::http
