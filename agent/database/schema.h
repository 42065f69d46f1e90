// SPDX-License-Identifier: Apache-2.0
// The tables, as the steps that lead to them: script N brings a file of version N to version N + 1. A step that was
// once released never changes.
#pragma once

#include <span>

namespace ds01::database {

std::span<const char* const> schema();

}  // namespace ds01::database
