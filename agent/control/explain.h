// SPDX-License-Identifier: Apache-2.0
// Why somebody may open a device or not, layer by layer: its node, device cgroups, this gate. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/access.h"
#include "control/target.h"
#include "devices/nodes.h"
#include "ds01/abi.h"

namespace ds01::control {

// Who is asked about: a process, or a login of a user on the host.
struct Questioned {
  std::string user;
  uid_t uid = 0;
  std::optional<pid_t> pid;
  std::string comm;
  std::string cgroup;
  devices::Credentials rights{};
  bool on_host = true;
  std::filesystem::path root;  // of its file tree
};

enum class Verdict { allows, may_deny, denies };

struct Layer {
  std::string_view name;  // "node", "device_cgroup", "gate"
  Verdict verdict;
  std::string why;
};

Layer node_layer(const Target& target, const Result<devices::Node>& node, const devices::Credentials& who);
Layer cgroup_layer(const Result<std::vector<std::string>>& with_programs);
Layer gate_layer(const Access& access, config::Mode mode);

// The kernel's answer about a process, in the words that access_in() has for a user.
Access access_of(const ds01_holder& answer, bool attached, config::Mode mode);

struct Explanation {
  const Questioned& who;
  const Target& target;
  std::string place;  // of the device's rule
  config::Mode mode;
  const Access& access;
  std::vector<Layer> layers;
  const std::string& allowed_slice;  // where containers may use GPUs; "" if nowhere
  bool by_themselves;                // the one who asks is the one who is asked about
};

// What to type next; "" if nothing stands in the way.
std::string next_step(const Explanation& explanation);
boost::json::object to_json(const Explanation& explanation);

}  // namespace ds01::control
