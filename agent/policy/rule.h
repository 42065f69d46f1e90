// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ds01/abi.h"

namespace ds01::policy {

// One entry of the policy hash, as the kernel side reads it.
struct Rule {
  ds01_rule_key key;
  ds01_rule value;
};

}  // namespace ds01::policy
