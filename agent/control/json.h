// SPDX-License-Identifier: Apache-2.0
// The contract's JSON, both ways. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <vector>

#include "core/result.h"
#include "grants/service.h"
#include "identity/users.h"
#include "kernel/gate.h"

namespace ds01::control {

boost::json::object to_json(const grants::Grant& grant, const Clock& clock);

// Denials and would-be denials only; of one uid if given. Sorted by uid, class, hook.
boost::json::array denials_json(const std::vector<kernel::Count>& counts, std::optional<uid_t> uid,
                                const identity::Users& users, const Clock& clock);

// The body of POST /v1/grants: {"subject", "duration_s" | "expires_at" | "permanent", "gpus", "reason", "on_expiry",
// "dry_run"}. Unknown fields and wrong types are invalid.
Result<grants::GrantRequest> parse_grant_request(std::string_view body);

// The body of PUT /v1/mode: {"gate": "gpu", "mode": "full" | "default", "for_s"}.
struct ModeRequest {
  std::optional<config::Mode> mode;  // none: back to the configuration's
  std::optional<std::chrono::seconds> lasting;
};
Result<ModeRequest> parse_mode_request(std::string_view body);

}  // namespace ds01::control
