// SPDX-License-Identifier: Apache-2.0
// Which device numbers are gated, as which class: the configuration's device rules against what the machine has. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/result.h"
#include "devices/machine.h"

namespace ds01::devices {

// A run of minors of one major that is gated as one class.
struct DeviceRange {
  std::uint32_t major;
  std::uint32_t first_minor;
  std::uint32_t last_minor;
  config::DeviceClass device_class;
  bool index_is_minor;
  std::optional<std::uint32_t> index = {};  // of the one GPU that all of it belongs to
  std::uint16_t cap_family = 0;             // enum ds01_cap_family; 0: no grant can name it

  bool operator==(const DeviceRange&) const = default;
};

// A driver whose devices are to be gated whole, as one class, from when it registers on.
struct Driver {
  std::string name;  // in /proc/devices
  config::DeviceClass device_class;
  std::uint16_t cap_family = 0;

  bool operator==(const Driver&) const = default;
};

struct Gated {
  std::vector<DeviceRange> ranges;
  std::vector<Driver> drivers;
};

// The rules against what the machine has now. Rules by a name that is not registered yield no range, as no such device
// can be opened, but a driver to wait for; and so do rules for all minors of one that is, which may be loaded anew. A
// name that is registered for one of the majors whose gating would stop the machine is an error.
Result<Gated> resolve(const std::vector<config::DeviceRule>& rules, const Machine& machine);

// Where the rule stands by which a device is gated: "agent.yaml:12: devices[3]" or "built-in default"; "" if none is.
std::string place_of(const std::vector<config::DeviceRule>& rules, const Machine& machine, std::uint32_t device);

// "open", "ioctl", "kill": what a hook is called in messages and JSON.
std::string hook_name(std::uint16_t hook);

// "gpu", "control", "admin.sock": what a class is called in messages and JSON.
std::string class_name(std::uint16_t device_class);

// The same with a GPU's index: "gpu0".
std::string device_name(std::uint16_t device_class, std::uint16_t index);

}  // namespace ds01::devices
