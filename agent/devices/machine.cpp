// SPDX-License-Identifier: Apache-2.0
#include "devices/machine.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "config/config.h"
#include "core/files.h"
#include "ds01/abi.h"

namespace ds01::devices {
namespace {

namespace fs = std::filesystem;

constexpr std::array kPciClasses{"class/drm", "class/accel"};
constexpr std::uint32_t kIndices = DS01_GPU_WORDS * 64;  // of those that a grant can name
constexpr std::size_t kAttributeSize = 4096;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The value of a "Key: value" line in the driver's information file.
std::string_view field(std::string_view text, std::string_view key) {
  for (const auto line : split(text, '\n')) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) return trim(line.substr(colon + 1));
  }
  return {};
}

// "226:128", as an attribute of a node has it.
std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_device(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto major = parse_number(text.substr(0, colon));
  const auto minor = parse_number(text.substr(colon + 1));
  if (!major || !minor) return std::nullopt;
  return std::pair(static_cast<std::uint32_t>(*major), static_cast<std::uint32_t>(*minor));
}

// The index of the GPU at a PCI address.
std::optional<std::uint32_t> index_at(const std::string& bus, const std::vector<Gpu>& gpus) {
  const auto found = std::ranges::find(gpus, bus, &Gpu::bus);
  return found != gpus.end() && found->index < kIndices ? std::optional(found->index) : std::nullopt;
}

// None for what is no node of a PCI device: connectors have no number, virtual GPUs no vendor.
std::optional<PciNode> read_node(const fs::path& node, const std::vector<Gpu>& gpus) {
  const auto numbers = read_file(node / "dev", kAttributeSize);
  const auto text = read_file(node / "device/vendor", kAttributeSize);
  if (!numbers || !text) return std::nullopt;
  const auto device = parse_device(trim(*numbers));
  const auto vendor = config::parse_vendor(trim(*text));
  if (!device || !vendor) return std::nullopt;
  std::error_code ignored;
  const auto bus = fs::canonical(node / "device", ignored).filename();
  return PciNode{device->first, device->second, vendor->id, index_at(bus, gpus)};
}

}  // namespace

Majors parse_majors(std::string_view text) {
  Majors majors;
  bool characters = false;
  for (const auto raw : split(text, '\n')) {
    const auto line = trim(raw);
    // The whole line: a driver's name may look like a heading, but a number stands before it.
    if (line == "Character devices:" || line == "Block devices:") characters = line.starts_with("Character");
    const auto space = line.find(' ');
    if (!characters || space == std::string_view::npos) continue;
    const auto major = parse_number(line.substr(0, space));
    if (major && *major < 4096) majors.emplace(trim(line.substr(space)), static_cast<std::uint32_t>(*major));
  }
  return majors;
}

std::vector<Gpu> list_gpus(const fs::path& proc) {
  std::vector<Gpu> gpus;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(proc / "driver/nvidia/gpus", ignored)) {
    const auto text = read_file(entry.path() / "information", 16384);
    if (!text) continue;
    const auto minor = parse_number(field(*text, "Device Minor"));
    if (!minor) continue;
    const auto uuid = std::string(field(*text, "GPU UUID"));
    gpus.push_back({static_cast<std::uint32_t>(*minor), uuid, entry.path().filename()});
  }
  std::ranges::sort(gpus, {}, &Gpu::index);
  return gpus;
}

std::vector<PciNode> list_pci_nodes(const fs::path& sys, const std::vector<Gpu>& gpus) {
  std::vector<PciNode> nodes;
  std::error_code ignored;
  for (const auto* folder : kPciClasses)
    for (const auto& entry : fs::directory_iterator(sys / folder, ignored))
      if (const auto node = read_node(entry.path(), gpus)) nodes.push_back(*node);
  std::ranges::sort(nodes, {}, [](const PciNode& node) { return std::tuple(node.major, node.minor); });
  return nodes;
}

Result<Machine> look(const fs::path& proc, const fs::path& sys) {
  DS01_TRY(const auto text, read_file(proc / "devices", 1 << 20));
  return Machine{parse_majors(text), list_pci_nodes(sys, list_gpus(proc))};
}

}  // namespace ds01::devices
