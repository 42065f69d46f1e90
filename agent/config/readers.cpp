// SPDX-License-Identifier: Apache-2.0
#include "config/readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "core/clock.h"
#include "core/files.h"
#include "core/text.h"

namespace ds01::config {
namespace {

constexpr std::string_view kDigits = "0123456789";

bool all_digits(std::string_view text) { return !text.empty() && text.find_first_not_of(kDigits) == text.npos; }

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; });
}

// What is wrong with `text` as an absolute path without "." and "..", or nothing.
std::optional<std::string_view> path_fault(std::string_view text) {
  if (!text.starts_with('/')) return "must begin with '/'";
  if (has_control(text)) return "must not contain control characters";
  if (text.size() >= 4096) return "is longer than a path can be";
  if (text.ends_with('/')) return "must not end with '/'";
  if (text.find("//") != text.npos) return "must not contain '//'";
  for (const auto part : split(text, '/'))
    if (part == "." || part == "..") return "must not contain '.' or '..'";
  return std::nullopt;
}

// YAML 1.1 reads off, no, on and yes as booleans, and people write them for modes.
std::string_view mode_hint(std::string_view text) {
  static constexpr std::array<std::string_view, 4> kOff{"off", "no", "false", "disable"};
  static constexpr std::array<std::string_view, 6> kOn{"on", "yes", "true", "enable", "enabled", "enforcing"};
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (std::ranges::find(kOff, lower) != kOff.end()) return "; to switch the gate off, write disabled";
  if (std::ranges::find(kOn, lower) != kOn.end()) return "; to switch the gate on, write full";
  return "";
}

// The rules of useradd and of directory services meet here: "DOMAIN\user", "first.last@site" and "domain users" are
// real.
std::optional<std::string_view> name_fault(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > 255) return "is longer than a name can be";
  if (has_control(text)) return "must not contain control characters";
  if (text.find_first_of(":/,") != text.npos) return "must not contain ':', '/' or ','";
  if (text.front() == '-' || text.front() == ' ' || text.back() == ' ')
    return "must not begin with '-' or begin or end with a space";
  return std::nullopt;
}

bool is_uid_form(std::string_view text) {
  if (!text.starts_with("uid:")) return false;
  const auto uid = parse_number(text.substr(4));
  return uid && *uid < UINT32_MAX;  // the highest number means "no user" to the kernel
}

}  // namespace

Result<bool> read_bool(const Value& value) {
  DS01_TRY(const auto text, value.text("true or false"));
  if (text == "true") return true;
  if (text == "false") return false;
  return value.fail(fmt::format("expected true or false, found {}", in_quotes(text)));
}

Result<std::string> read_text(const Value& value) {
  DS01_TRY(auto text, value.text("a text"));
  if (text.size() > 2000) return value.fail("longer than 2000 bytes");
  // Line breaks and tabs can come from quoted text, as can escapes for a terminal ("\e[2J").
  const auto unprintable = [](char c) { return (c >= 0 && c < ' ' && c != '\n') || c == '\x7f'; };
  if (std::ranges::any_of(text, unprintable)) return value.fail("must not contain control characters");
  return text;
}

Result<std::chrono::seconds> read_duration(const Value& value) {
  DS01_TRY(const auto text, value.text("a duration such as 90m or 1d12h"));
  const auto duration = parse_duration(text);
  if (!duration) return value.fail(duration.error().message);
  return *duration;
}

Result<Mode> read_mode(const Value& value) {
  DS01_TRY(const auto text, value.text("disabled, monitoring or full"));
  if (const auto mode = parse_mode(text)) return *mode;
  return value.fail(fmt::format("expected disabled, monitoring or full, found {}{}", in_quotes(text), mode_hint(text)));
}

Result<OnExpiry> read_on_expiry(const Value& value) {
  DS01_TRY(const auto text, value.text("soft, cut or kill"));
  if (const auto action = parse_on_expiry(text)) return *action;
  return value.fail(fmt::format("expected soft, cut or kill, found {}", in_quotes(text)));
}

Result<double> read_ratio(const Value& value) {
  DS01_TRY(const auto text, value.text("a number above 0, at most 1"));
  double ratio = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, ratio, std::chars_format::fixed);
  if (error == std::errc() && stop == end && ratio > 0 && ratio <= 1) return ratio;  // false for "nan" too
  return value.fail(fmt::format("expected a number above 0, at most 1, found {}", in_quotes(text)));
}

Result<std::string> read_cgroup(const Value& value) {
  DS01_TRY(auto text, value.text("a cgroup such as /ds01.slice"));
  if (text == "/") return value.fail("'/' is every process of this host; name a cgroup below it, such as /ds01.slice");
  if (const auto fault = path_fault(text)) return value.fail(fmt::format("cgroup {} {}", in_quotes(text), *fault));
  if (text == "/sys/fs/cgroup" || text.starts_with("/sys/fs/cgroup/"))
    return value.fail(fmt::format("cgroup {} must be written without /sys/fs/cgroup", in_quotes(text)));
  return text;
}

Result<std::string> read_user(const Value& value) {
  DS01_TRY(auto text, value.text("a user name"));
  if (is_uid_form(text)) return text;
  if (all_digits(text))
    return value.fail(fmt::format("{0} is not a user name; write uid:{0} for a number", escaped(text)));
  if (const auto fault = name_fault(text)) return value.fail(fmt::format("user name {} {}", in_quotes(text), *fault));
  return text;
}

Result<std::string> read_group(const Value& value) {
  DS01_TRY(auto text, value.text("a group name"));
  DS01_CHECK(check_group(text, value));
  return text;
}

Status check_group(std::string_view name, const Value& value) {
  if (all_digits(name)) return value.fail(fmt::format("{} is a number; write the group's name", escaped(name)));
  if (const auto fault = name_fault(name)) return value.fail(fmt::format("group name {} {}", in_quotes(name), *fault));
  return {};
}

Result<std::filesystem::path> read_path(const Value& value) {
  DS01_TRY(const auto text, value.text("a path such as /etc/ds01/resource-limits.yaml"));
  if (const auto fault = path_fault(text)) return value.fail(fmt::format("path {} {}", in_quotes(text), *fault));
  return std::filesystem::path(text);
}

Result<std::filesystem::path> read_optional_path(const Value& value) {
  DS01_TRY(const auto text, value.text("a path such as /var/log/ds01/audit.jsonl, or \"\" for no file"));
  if (text.empty()) return std::filesystem::path();
  return read_path(value);
}

std::function<Result<std::uint32_t>(const Value&)> number_in(std::uint32_t first, std::uint32_t last) {
  return [first, last](const Value& value) -> Result<std::uint32_t> {
    const auto expected = fmt::format("a whole number from {} to {}", first, last);
    DS01_TRY(const auto text, value.text(expected));
    const auto number = parse_number(text);
    const bool octal = text.size() > 1 && text.front() == '0';  // "010" is 8 to some YAML readers, 10 to others
    if (!number || octal || *number < first || *number > last)
      return value.fail(fmt::format("expected {}, found {}", expected, in_quotes(text)));
    return static_cast<std::uint32_t>(*number);
  };
}

}  // namespace ds01::config
