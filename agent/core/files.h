// SPDX-License-Identifier: Apache-2.0
// Small file helpers with bounded reads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace ds01 {

// The whole file, at most `limit` bytes. Errors carry the path; over the limit is too_large, a missing file not_found.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit);

// Writes all of `data`, going on after short writes and EINTR.
Status write_all(int fd, std::string_view data, std::string_view what);

// The parts of `text` between separators, empty ones left out.
std::vector<std::string_view> split(std::string_view text, char separator);

// A whole decimal number without sign or space.
Result<unsigned long long> parse_number(std::string_view text);

}  // namespace ds01
