// SPDX-License-Identifier: Apache-2.0
// The devices that the machine has now, as /proc and /sys tell. Their roots are arguments.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace ds01::devices {

// Names in /proc/devices' character section, and their majors. One name may stand there more than once.
using Majors = std::multimap<std::string, std::uint32_t, std::less<>>;

// Parses the text of /proc/devices; block devices are left out. A name is everything up to the end of the line.
Majors parse_majors(std::string_view text);

struct Gpu {
  std::uint32_t index;
  std::string uuid;      // "GPU-…"; empty if the driver does not tell
  std::string bus = {};  // its address on the PCI bus, "0000:81:00.0"; empty where only index and UUID are remembered
};

// The GPUs that the NVIDIA driver lists below `proc`/driver/nvidia/gpus, by index; none without the driver.
std::vector<Gpu> list_gpus(const std::filesystem::path& proc);

// A node below /sys/class/drm or /sys/class/accel whose device is on the PCI bus.
struct PciNode {
  std::uint32_t major;
  std::uint32_t minor;
  std::uint32_t vendor;
  std::optional<std::uint32_t> index;  // of its GPU, if it is one of those that the NVIDIA driver lists

  bool operator==(const PciNode&) const = default;
};

// In the order of their numbers.
std::vector<PciNode> list_pci_nodes(const std::filesystem::path& sys, const std::vector<Gpu>& gpus);

struct Machine {
  Majors majors;
  std::vector<PciNode> nodes;
};

// An error if /proc/devices cannot be read. What /sys does not tell is not there.
Result<Machine> look(const std::filesystem::path& proc, const std::filesystem::path& sys);

}  // namespace ds01::devices
