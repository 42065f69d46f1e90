// SPDX-License-Identifier: Apache-2.0
#include "holders/mappings.h"

#include <map>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "core/files.h"
#include "devices/nodes.h"

namespace ds01::holders {
namespace {

constexpr std::size_t kLargestMaps = 64U << 20;

// The path at the end of a line of maps, if it lies below /dev; "" otherwise. Files in /dev/shm are no devices.
std::string_view device_path(std::string_view line) {
  const auto path = line.find(" /dev/");
  if (path == std::string_view::npos || line.find(" /dev/shm/") == path) return "";
  return line.substr(path + 1);
}

void add_mappings(std::vector<Mapping>& all, const std::filesystem::path& folder, pid_t pid) {
  const auto maps = read_file(folder / "maps", kLargestMaps);
  if (!maps) return;
  std::map<std::string_view, std::optional<std::uint32_t>> numbers;  // a process maps one device many times
  for (const auto line : split(*maps, '\n')) {
    const auto path = device_path(line);
    if (path.empty()) continue;
    const auto [known, fresh] = numbers.try_emplace(path);
    if (fresh)
      if (const auto node = devices::look_up(folder / "root", std::string(path))) known->second = node->device;
    if (known->second) all.push_back({pid, *known->second});
  }
}

}  // namespace

Result<std::vector<Mapping>> read_mappings(const std::filesystem::path& proc) {
  std::vector<Mapping> all;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(proc, error), end; !error && entry != end; entry.increment(error))
    if (const auto pid = parse_number(entry->path().filename().string()))
      add_mappings(all, entry->path(), static_cast<pid_t>(*pid));
  if (error) return fail(ErrorCode::system, fmt::format("{}: {}", proc.string(), error.message()));
  return all;
}

}  // namespace ds01::holders
