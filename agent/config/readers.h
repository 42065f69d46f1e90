// SPDX-License-Identifier: Apache-2.0
// Readers of single values. Each refuses what is malformed or out of range and says what is expected.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "config/config.h"
#include "config/value.h"
#include "core/result.h"

namespace ds01::config {

Result<bool> read_bool(const Value& value);
Result<std::string> read_text(const Value& value);               // anything printable, up to 2,000 bytes
Result<std::chrono::seconds> read_duration(const Value& value);  // above zero
Result<Mode> read_mode(const Value& value);
Result<OnExpiry> read_on_expiry(const Value& value);
Result<double> read_ratio(const Value& value);  // above 0, at most 1

// A path below the cgroup root: "/ds01.slice". "/" itself is refused, as a rule for it would hold for every process.
Result<std::string> read_cgroup(const Value& value);
// A name, or "uid:N" for a user without one.
Result<std::string> read_user(const Value& value);
Result<std::string> read_group(const Value& value);
Status check_group(std::string_view name,
                   const Value& value);  // the same for a name from elsewhere, such as a map's key

Result<std::filesystem::path> read_path(const Value& value);           // absolute
Result<std::filesystem::path> read_optional_path(const Value& value);  // absolute, or "" for none

// A whole number from first to last.
std::function<Result<std::uint32_t>(const Value&)> number_in(std::uint32_t first, std::uint32_t last);

}  // namespace ds01::config
