// SPDX-License-Identifier: Apache-2.0
// Errors as values. Library code returns Result and never logs; the edge (a main, an HTTP handler) reports it once.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace ds01 {

// What went wrong, in the terms a caller acts on. The control API and the exit codes of ds01ctl map from this.
enum class ErrorCode {
  invalid,      // the input is malformed or out of range
  refused,      // the caller may not do this
  not_found,    // the named thing does not exist
  conflict,     // the thing exists in a state that forbids this
  too_large,    // the input is over a size limit
  limited,      // the caller does this too often
  unavailable,  // the kernel side or the agent is not there
  system,       // a system call failed
};

struct Error {
  ErrorCode code;
  std::string message;  // one sentence that names the thing and what to do
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

// "what: No such file or directory", from errno or from the given errno value.
std::unexpected<Error> fail_errno(std::string_view what);
std::unexpected<Error> fail_errno(std::string_view what, int error);

}  // namespace ds01

// Evaluates a Result, returns its error from the enclosing function, or binds the value:
//   DS01_TRY(auto text, read_file(path));
#define DS01_CONCAT2(a, b) a##b
#define DS01_CONCAT(a, b) DS01_CONCAT2(a, b)
#define DS01_TRY_IMPL(result, decl, ...)                          \
  auto result = (__VA_ARGS__);                                    \
  if (!result) return std::unexpected(std::move(result).error()); \
  decl = std::move(*result)
#define DS01_TRY(decl, ...) DS01_TRY_IMPL(DS01_CONCAT(ds01_result_, __LINE__), decl, __VA_ARGS__)
#define DS01_CHECK(...)                                                                                         \
  do {                                                                                                          \
    if (auto ds01_status = (__VA_ARGS__); !ds01_status) return std::unexpected(std::move(ds01_status).error()); \
  } while (false)
