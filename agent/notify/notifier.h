// SPDX-License-Identifier: Apache-2.0
// Notices to one person: written to their terminals, or kept for the next time they look. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "database/database.h"

namespace ds01::notify {

struct Notice {
  std::uint64_t number;
  WallTime time;
  std::string text;
};

enum class Delivery { terminal, kept };

class Notifier {
 public:
  struct Deps {
    database::Database& database;
    const Clock& clock;
    std::filesystem::path dev;   // "/dev"
    std::filesystem::path utmp;  // "/run/utmp"; need not exist
    // The terminals of the user's logind sessions ("pts/3", "tty2"); may be empty.
    std::function<std::vector<std::string>(uid_t)> session_terminals;
  };
  explicit Notifier(Deps deps) : deps_(std::move(deps)) {}

  // Tells the person `text`, one or more lines: on each terminal of theirs that takes it (host ptys and consoles of
  // their sessions, owned by them, with `mesg y`), never blocking; where there is none it is kept.
  Result<Delivery> tell(uid_t uid, const std::string& text);

  // Those kept, the oldest first, at most 20.
  Result<std::vector<Notice>> pending(uid_t uid) const;
  // The person has seen them up to this number.
  Status seen(uid_t uid, std::uint64_t number);
  // Forgets notices that nobody fetched, older than 30 days.
  Status forget_old();

 private:
  bool write_to_terminals(uid_t uid, std::string_view data) const;
  Status keep(uid_t uid, const std::string& text);
  Deps deps_;
};

// The terminals of the logind sessions of `uid`, as sd-login knows them.
std::vector<std::string> logind_terminals(uid_t uid);

}  // namespace ds01::notify
