// SPDX-License-Identifier: Apache-2.0
// A grant as a record: who may use what, until when, and who said so. Plain data.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/clock.h"
#include "core/deadline.h"
#include "devices/devices.h"

namespace ds01::grants {

struct Subject {
  enum class Kind { user, cgroup };
  Kind kind = Kind::user;
  uid_t uid = 0;     // user
  std::string name;  // user: the account's name when granted; empty if the uid has none
  std::string path;  // cgroup
  // The cgroup that is at `path` now; 0: there is none, and the grant waits for it.
  std::uint64_t cgroup_id = 0;
  unsigned cgroup_depth = 0;

  // "alice", "uid:1000" or "cgroup:/path": what an admin would type.
  std::string display() const;
};

// Who acts: the uid that called, and the person who once logged in to become it.
struct Actor {
  uid_t uid = 0;
  std::string name;
  std::optional<uid_t> login_uid;
};

// suspended: the account that it was given to is not there (any more); it may come back.
enum class State { active, expired, revoked, suspended };
std::string_view to_string(State state);

struct Grant {
  std::uint64_t number = 0;  // "g-NUMBER"
  Subject subject;
  std::optional<std::vector<devices::Gpu>> gpus;  // none: all of them
  std::vector<std::string> caps;                  // capability nodes, as devices::cap_name() gives them
  WallTime created;
  End end;                                     // the kernel compares with the same moment on the same clock
  std::chrono::seconds term{0};                // how long it was when its end was last set; 0: permanent
  std::optional<std::chrono::seconds> warned;  // the shortest time before the end that was announced
  config::OnExpiry on_expiry = config::OnExpiry::cut;
  Actor granted_by;
  std::string reason;
  State state = State::active;
  // Of a grant that is over:
  std::optional<WallTime> ended;
  std::optional<Actor> ended_by;  // who revoked it
  std::string end_reason;

  std::string id() const { return "g-" + std::to_string(number); }
  std::string scope() const;  // "all GPUs", "GPU 0, 2 and nvidia-cap30"
  // Active or suspended: not over.
  bool is_living() const { return state == State::active || state == State::suspended; }
};

}  // namespace ds01::grants
