// SPDX-License-Identifier: Apache-2.0
// A user's request for a grant as a record. Plain data.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/deadline.h"
#include "grants/grant.h"

namespace ds01::grants {

enum class RequestState { pending, approved, denied, lapsed };
std::string_view to_string(RequestState state);

struct Request {
  std::uint64_t number = 0;  // "r-NUMBER"
  Actor who;
  std::chrono::seconds duration{0};
  std::string gpus;  // as asked: "all", indices or UUIDs
  std::string reason;
  WallTime created;
  End lapses;
  RequestState state = RequestState::pending;
  // Once answered:
  std::optional<WallTime> decided;
  std::optional<Actor> decided_by;  // none: by a rule of the configuration, or lapsed
  std::string answer;               // why it was denied
  std::optional<std::uint64_t> grant;

  std::string id() const { return "r-" + std::to_string(number); }
};

}  // namespace ds01::grants
