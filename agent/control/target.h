// SPDX-License-Identifier: Apache-2.0
// The device that a question is about: from what people write to a number, and how it is gated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "control/access.h"
#include "core/result.h"
#include "devices/machine.h"
#include "policy/policy.h"

namespace ds01::control {

struct Target {
  std::uint32_t device = 0;    // as in ds01/abi.h
  std::string name;            // "gpu0"; of one that is not gated its path
  std::string path;            // "/dev/nvidia0"; "" if the host has no such node
  std::optional<Asked> gated;  // none: no rule is about it
  bool has_driver = false;     // its major is registered

  std::uint32_t major() const { return device >> 20; }
  std::uint32_t minor() const { return device & DS01_MINOR_MASK; }
};

// The folders below which /dev is looked at.
struct Roots {
  std::filesystem::path host;
  std::filesystem::path process;  // of the process that is asked about; a container has nodes of its own
};

// `text` is a name as `holders` shows it or a path; "" is /dev/nvidia0 or, without one, the first gated node.
// not_found: there is no such device.
Result<Target> find_target(const std::string& text, const policy::Resolved& resolved, const devices::Machine& machine,
                           const Roots& roots);

}  // namespace ds01::control
