// SPDX-License-Identifier: Apache-2.0
// The routes about processes: who holds a device, and why somebody may open one or not.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "control/api.h"
#include "control/json.h"
#include "core/text.h"
#include "devices/nodes.h"
#include "holders/holders.h"

namespace ds01::control {
namespace {

// The records of one device: "/dev/…" by its number, anything else by the name that records are shown with.
Result<holders::Wanted> wanted_device(const std::filesystem::path& proc, const std::string& device) {
  if (device.empty()) return [](const ds01_holder&) { return true; };
  if (device.starts_with('/')) {
    DS01_TRY(const auto node, devices::look_up(proc / "1/root", device));
    return [number = node.device](const ds01_holder& record) { return record.device == number; };
  }
  return
      [device](const ds01_holder& record) { return devices::device_name(record.device_class, record.index) == device; };
}

}  // namespace

Api::Reply Api::get_holders(const Call& call) {
  DS01_CHECK(check_on_host(call, "holders are listed"));
  DS01_TRY(const auto of_device, wanted_device(deps_.proc, text_of(call.query, "device")));
  const auto& caller = call.caller;
  const auto wanted = [&](const ds01_holder& record) {
    return (caller.admin || record.uid == caller.actor.uid) && of_device(record);
  };
  DS01_TRY(const auto found, holders::list(deps_.source, deps_.proc, wanted));
  return json_response(holders_json(found, deps_.users, deps_.cgroups, deps_.clock));
}

}  // namespace ds01::control
