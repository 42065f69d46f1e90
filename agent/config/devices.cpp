// SPDX-License-Identifier: Apache-2.0
#include "config/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "config/readers.h"
#include "core/files.h"
#include "core/text.h"

namespace ds01::config {
namespace {

using Nodes = decltype(DeviceRule::nodes);

constexpr std::uint32_t kLastMajor = 4095;     // the kernel has 12 bits for a major
constexpr std::uint32_t kLastMinor = 1048575;  // and 20 for a minor

// What no shell, no login and hardly any program works without: mem (with /dev/null), the terminals, the pseudo
// terminals.
struct Vital {
  std::uint32_t first_major;
  std::uint32_t last_major;
};
constexpr std::array<Vital, 4> kVitalMajors{{{1, 1}, {4, 5}, {7, 7}, {136, 143}}};
constexpr std::array<std::string_view, 9> kVitalNames{"mem",          "tty",       "ttyS", "/dev/vc/0", "/dev/tty",
                                                      "/dev/console", "/dev/ptmx", "pts",  "vcs"};

std::unexpected<Error> stops_the_machine(const Value& value, std::string_view major) {
  return value.fail(
      fmt::format("must not gate {}: it would stop the machine (memory devices and terminals are never gated)", major));
}

Result<Nodes> read_major_number(const Value& value) {
  DS01_TRY(const auto number, number_in(1, kLastMajor)(value));
  const auto holds = [&](const Vital& vital) { return number >= vital.first_major && number <= vital.last_major; };
  if (std::ranges::any_of(kVitalMajors, holds)) return stops_the_machine(value, fmt::format("major {}", number));
  return number;
}

Result<Nodes> read_major(const Value& value) {
  DS01_TRY(const auto text, value.text("a major number or a name in /proc/devices"));
  if (text.find_first_not_of("+-0123456789") == text.npos) return read_major_number(value);
  if (std::ranges::find(kVitalNames, text) != kVitalNames.end()) return stops_the_machine(value, in_quotes(text));
  // A path, a hexadecimal number and the like would match nothing, and gate nothing, for ever.
  const bool odd_start = std::string_view("/ 0123456789").find(text.front()) != std::string_view::npos;
  if (odd_start || text.ends_with(' ') || text != escaped(text))
    return value.fail(fmt::format("{} is not a name in /proc/devices, such as nvidia-uvm", in_quotes(text)));
  return text;
}

Result<Nodes> read_vendor(const Value& value) {
  constexpr std::string_view kExpected = "a PCI vendor such as 0x10de";
  DS01_TRY(const auto text, value.text(kExpected));
  if (const auto vendor = parse_vendor(text)) return *vendor;
  return value.fail(fmt::format("expected {}, found {}", kExpected, in_quotes(text)));
}

Result<DeviceClass> read_class(const Value& value) {
  constexpr std::string_view kExpected = "gpu, control, compute, capability, fabric or dri";
  DS01_TRY(const auto text, value.text(kExpected));
  if (const auto device_class = parse_device_class(text)) return *device_class;
  return value.fail(fmt::format("expected {}, found {}", kExpected, in_quotes(text)));
}

Result<bool> read_index(const Value& value) {
  DS01_TRY(const auto text, value.text("minor or none"));
  if (text == "minor") return true;
  if (text == "none") return false;
  return value.fail(fmt::format("expected minor or none, found {}", in_quotes(text)));
}

struct Minors {
  std::uint32_t first = 0;
  std::uint32_t last = kLastMinor;
};

Result<Minors> read_minors(const Value& value) {
  const auto expected = fmt::format("a minor from 0 to {0}, or a range such as 0-253", kLastMinor);
  DS01_TRY(const auto text, value.text(expected));
  const auto dash = text.find('-');
  const auto first = parse_number(std::string_view(text).substr(0, dash));
  const auto last = dash == text.npos ? first : parse_number(std::string_view(text).substr(dash + 1));
  if (!first || !last || *first > kLastMinor || *last > kLastMinor)
    return value.fail(fmt::format("expected {}, found {}", expected, in_quotes(text)));
  if (*first > *last)
    return value.fail(fmt::format("the range {0} runs backwards; write {2}-{1}", in_quotes(text), *first, *last));
  return Minors{static_cast<std::uint32_t>(*first), static_cast<std::uint32_t>(*last)};
}

Result<DeviceRule> read_rule(const Value& value) {
  DeviceClass device_class{};
  std::optional<Nodes> major;
  std::optional<Nodes> vendor;
  std::optional<Minors> minors;
  std::optional<bool> index;
  DS01_CHECK(read_fields(value, {{"class", into(device_class, read_class), true},
                                 {"major", into(major, read_major)},
                                 {"minors", into(minors, read_minors)},
                                 {"index", into(index, read_index)},
                                 {"vendor", into(vendor, read_vendor)}}));
  if (!major && !vendor) return value.fail("needs the key 'major' or 'vendor'");
  if (major && vendor) return value.fail("has both 'major' and 'vendor'; write a rule for each");
  if (vendor && (minors || index))
    return value.fail(
        "'minors' and 'index' go with 'major' only: a vendor's nodes are gated all, with the index of their GPU");
  const auto [first, last] = minors.value_or(Minors{});
  return DeviceRule{device_class, major ? *major : *vendor, first, last, index.value_or(false), value.where()};
}

bool overlap(const DeviceRule& a, const DeviceRule& b) {
  return a.nodes == b.nodes && a.first_minor <= b.last_minor && b.first_minor <= a.last_minor;
}

DeviceRule built_in(DeviceClass device_class, Nodes nodes, Minors minors = {}, bool index_is_minor = false) {
  return {device_class, std::move(nodes), minors.first, minors.last, index_is_minor, "built-in default"};
}

}  // namespace

Result<std::vector<DeviceRule>> read_devices(const Value& value) {
  DS01_TRY(const auto items, value.list("a list of device rules"));
  if (items.empty())
    return value.fail("lists no device, so nothing would be gated; leave the key out for the built-in rules");
  std::vector<DeviceRule> rules;
  for (const auto& item : items) {
    DS01_TRY(auto rule, read_rule(item));
    const auto other = std::ranges::find_if(rules, [&](const DeviceRule& earlier) { return overlap(earlier, rule); });
    if (other != rules.end())
      return item.fail(fmt::format("covers device nodes that devices[{}] covers already", other - rules.begin()));
    rules.push_back(std::move(rule));
  }
  return rules;
}

// NVIDIA's first major is 195 by number: Linux has assigned it to NVIDIA (admin-guide/devices.txt) and the
// driver asks for nothing else, while the name differs between drivers ("nvidia", "nvidia-frontend"). By number the
// gate is closed before the module is loaded and under any name. The other majors are dynamic and known by name only;
// they are gated whole, so that a minor that a newer driver adds is gated too. DRI nodes of all drivers share one
// major, and a server's own graphics (its console) must stay open.
std::vector<DeviceRule> default_devices() {
  using enum DeviceClass;
  constexpr std::uint32_t kNvidiaMajor = 195;
  constexpr Vendor kNvidia{0x10de};
  constexpr Vendor kAmd{0x1002};
  constexpr Vendor kIntel{0x8086};
  return {
      built_in(gpu, kNvidiaMajor, {0, 253}, true),
      built_in(control, kNvidiaMajor, {254, 255}),  // nvidia-modeset and nvidiactl
      built_in(compute, "nvidia-uvm"),
      built_in(compute, "nvidia-fs"),  // GPUDirect Storage
      built_in(compute, "gdrdrv"),     // GDRCopy
      built_in(capability, "nvidia-caps"),
      built_in(capability, "nvidia-caps-imex-channels"),
      built_in(fabric, "nvidia-nvswitch"),
      built_in(fabric, "nvidia-nvlink"),
      built_in(dri, kNvidia),
      built_in(compute, "kfd"),  // AMD's ROCm; its DRI nodes say which GPU
      built_in(dri, kAmd),
      built_in(dri, kIntel),  // NPUs, too
  };
}

}  // namespace ds01::config
