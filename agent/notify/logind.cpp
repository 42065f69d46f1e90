// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <systemd/sd-login.h>

#include "notify/notifier.h"

namespace ds01::notify {
namespace {

// What sd-login allocates.
class Text {
 public:
  explicit Text(char* text) : text_(text) {}
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  ~Text() { ::free(text_); }
  const char* get() const { return text_; }

 private:
  char* text_;
};

}  // namespace

std::vector<std::string> logind_terminals(uid_t uid) {
  std::vector<std::string> names;
  char** sessions = nullptr;
  const int count = sd_uid_get_sessions(uid, 0, &sessions);
  for (int i = 0; i < count; ++i) {
    const Text session(sessions[i]);
    char* tty = nullptr;
    if (sd_session_get_tty(session.get(), &tty) >= 0) names.emplace_back(Text(tty).get());
  }
  ::free(static_cast<void*>(sessions));
  return names;
}

}  // namespace ds01::notify
