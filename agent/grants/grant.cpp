// SPDX-License-Identifier: Apache-2.0
#include "grants/grant.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "grants/request.h"

namespace ds01::grants {

std::string_view to_string(State state) {
  switch (state) {
    case State::active: return "active";
    case State::expired: return "expired";
    case State::revoked: return "revoked";
    case State::suspended: return "suspended";
  }
  std::unreachable();
}

std::string_view to_string(RequestState state) {
  switch (state) {
    case RequestState::pending: return "pending";
    case RequestState::approved: return "approved";
    case RequestState::denied: return "denied";
    case RequestState::lapsed: return "lapsed";
  }
  std::unreachable();
}

std::string Subject::display() const {
  if (kind == Kind::cgroup) return "cgroup:" + path;
  return name.empty() ? fmt::format("uid:{}", uid) : name;
}

std::string Grant::scope() const {
  std::vector<std::uint32_t> indices;
  for (const auto& gpu : gpus.value_or(std::vector<devices::Gpu>{})) indices.push_back(gpu.index);
  auto text = gpus ? fmt::format("GPU {}", fmt::join(indices, ", ")) : "all GPUs";
  return caps.empty() ? text : fmt::format("{} and {}", text, fmt::join(caps, ", "));
}

}  // namespace ds01::grants
