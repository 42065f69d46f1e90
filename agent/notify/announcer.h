// SPDX-License-Identifier: Apache-2.0
// What a person is told about their grants and requests, and when the audit trail says that they were told. One thread.
#pragma once

#include <functional>
#include <string>

#include "grants/grant.h"
#include "grants/request.h"
#include "notify/notifier.h"

namespace ds01::notify {

class Announcer {
 public:
  struct Deps {
    Notifier& notifier;
    const Clock& clock;
    // Called with what was told and how it went, for the audit trail.
    std::function<void(uid_t uid, const std::string& text, const Result<Delivery>& delivery)> on_told;
  };
  explicit Announcer(Deps deps) : deps_(std::move(deps)) {}

  // Grants to a cgroup concern no one person: nobody is told.
  void ending(const grants::Grant& grant);  // a warning, with the time that is left
  void ended(const grants::Grant& grant);   // expired or revoked, with what to type for another
  void approved(const grants::Request& request, const grants::Grant& grant);
  void denied(const grants::Request& request);
  void lapsed(const grants::Request& request);

 private:
  void tell(uid_t uid, const std::string& text);
  Deps deps_;
};

}  // namespace ds01::notify
