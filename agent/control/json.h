// SPDX-License-Identifier: Apache-2.0
// What the agent knows, as the contract's JSON. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <vector>

#include "grants/grant.h"
#include "grants/request.h"
#include "holders/holders.h"
#include "identity/cgroups.h"
#include "identity/users.h"
#include "kernel/gate.h"
#include "notify/notifier.h"

namespace ds01::control {

boost::json::object to_json(const grants::Grant& grant, const Clock& clock);
// A grant that is over: its fields, and how it ended.
boost::json::object history_json(const grants::Grant& grant, const Clock& clock);
boost::json::object to_json(const grants::Request& request, const Clock& clock);
boost::json::array notices_json(const std::vector<notify::Notice>& notices);

// Denials and would-be denials only; of one uid if given. Sorted by uid, class, hook.
boost::json::array denials_json(const std::vector<kernel::Count>& counts, std::optional<uid_t> uid,
                                const identity::Users& users, const Clock& clock);

// One row per process, with what an open() of its would get now.
boost::json::array holders_json(const std::vector<holders::Holder>& holders, const identity::Users& users,
                                const identity::Cgroups& cgroups, const Clock& clock);

}  // namespace ds01::control
