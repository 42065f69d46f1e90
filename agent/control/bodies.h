// SPDX-License-Identifier: Apache-2.0
// The bodies of requests, from the contract's JSON. Unknown fields and wrong types are ErrorCode::invalid. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "grants/requests.h"
#include "grants/service.h"

namespace ds01::control {

// POST /v1/grants: {"subject", "duration_s" | "expires_at" | "permanent", "gpus", "caps", "reason", "on_expiry",
// "dry_run"}.
Result<grants::GrantRequest> parse_grant_request(std::string_view body);

// POST /v1/grants/{id}/extend: {"duration_s"}.
Result<std::chrono::seconds> parse_extension(std::string_view body);

// POST /v1/requests: {"duration_s", "gpus", "reason"}.
Result<grants::Requests::Ask> parse_ask(std::string_view body);

// POST /v1/requests/{id}/approve: {"duration_s"}, or nothing at all.
Result<std::optional<std::chrono::seconds>> parse_approval(std::string_view body);

// POST /v1/requests/{id}/deny: {"reason"}.
Result<std::string> parse_denial(std::string_view body);

// POST /v1/notices/seen: {"number"}.
Result<std::uint64_t> parse_seen(std::string_view body);

// PUT /v1/mode: {"gate": "gpu", "mode": "full" | "default", "for_s"}.
struct ModeRequest {
  std::optional<config::Mode> mode;  // none: back to the configuration's
  std::optional<std::chrono::seconds> lasting;
};
Result<ModeRequest> parse_mode_request(std::string_view body);

}  // namespace ds01::control
