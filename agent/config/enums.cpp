// SPDX-License-Identifier: Apache-2.0
// The words of the configuration for the values of its enums, and for vendors.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "config/config.h"

namespace ds01::config {
namespace {

template <class T, std::size_t size>
using Words = std::array<std::pair<T, std::string_view>, size>;

constexpr Words<Mode, 3> kModes{{{Mode::disabled, "disabled"}, {Mode::monitoring, "monitoring"}, {Mode::full, "full"}}};
constexpr Words<OnExpiry, 3> kActions{{{OnExpiry::soft, "soft"}, {OnExpiry::cut, "cut"}, {OnExpiry::kill, "kill"}}};
constexpr Words<DeviceClass, 6> kClasses{{{DeviceClass::gpu, "gpu"},
                                          {DeviceClass::control, "control"},
                                          {DeviceClass::compute, "compute"},
                                          {DeviceClass::capability, "capability"},
                                          {DeviceClass::fabric, "fabric"},
                                          {DeviceClass::dri, "dri"}}};

template <class T, std::size_t size>
std::string_view word_for(const Words<T, size>& words, T value) {
  const auto found = std::ranges::find(words, value, &std::pair<T, std::string_view>::first);
  return found == words.end() ? "?" : found->second;
}

template <class T, std::size_t size>
std::optional<T> value_for(const Words<T, size>& words, std::string_view text) {
  const auto found = std::ranges::find(words, text, &std::pair<T, std::string_view>::second);
  return found == words.end() ? std::nullopt : std::optional(found->first);
}

}  // namespace

std::string_view to_string(Mode mode) { return word_for(kModes, mode); }
std::string_view to_string(OnExpiry action) { return word_for(kActions, action); }
std::string_view to_string(DeviceClass device_class) { return word_for(kClasses, device_class); }
std::optional<Mode> parse_mode(std::string_view text) { return value_for(kModes, text); }
std::optional<OnExpiry> parse_on_expiry(std::string_view text) { return value_for(kActions, text); }
std::optional<DeviceClass> parse_device_class(std::string_view text) { return value_for(kClasses, text); }

std::optional<Vendor> parse_vendor(std::string_view text) {
  constexpr std::size_t kDigits = 4;
  if (!text.starts_with("0x") || text.size() != 2 + kDigits) return std::nullopt;
  Vendor vendor{};
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), vendor.id, 16);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(vendor) : std::nullopt;
}

}  // namespace ds01::config
