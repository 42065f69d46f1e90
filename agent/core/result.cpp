// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace ds01 {

std::unexpected<Error> fail_errno(std::string_view what, int error) {
  return fail(ErrorCode::system, fmt::format("{}: {}", what, std::generic_category().message(error)));
}

std::unexpected<Error> fail_errno(std::string_view what) { return fail_errno(what, errno); }

}  // namespace ds01
