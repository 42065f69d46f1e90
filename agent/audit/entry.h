// SPDX-License-Identifier: Apache-2.0
// One line of the audit trail, before it goes to the sinks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace ds01::audit {

// What happened. Each kind has a fixed journal MESSAGE_ID and OCSF class (entry.cpp).
enum class Kind {
  denial,
  summary,
  grant,
  extend,
  revoke,
  expiry,
  suspend,
  resume,
  request,
  answer,
  notice,
  mode,
  start,
  stop,
  refused,
  reload,
  drift,
  signal,
  recursion,
  held,
  lost,
};

// syslog's levels, as far as the trail uses them.
enum class Level { critical = 2, error = 3, warning = 4, notice = 5, info = 6 };

struct Entry {
  Kind kind;
  Level level;
  WallTime time;
  std::string message;  // one sentence for people
  // Field names in lower case ("uid", "device"); the journal gets them as DS01_UID, the JSON line as they are.
  std::vector<std::pair<std::string, std::string>> fields;
};

std::string_view name_of(Kind kind);
std::string_view message_id(Kind kind);  // 32 hex digits, never to change

// One line of JSON shaped as OCSF 1.3: denials as File System Activity, grants as User Access Management.
std::string to_json(const Entry& entry);

}  // namespace ds01::audit
