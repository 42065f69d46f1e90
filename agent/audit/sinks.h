// SPDX-License-Identifier: Apache-2.0
// Where audit entries go. A sink that fails loses the line and counts it; it never holds up the caller with an error.
#pragma once

#include <cstdint>
#include <filesystem>

#include "audit/entry.h"
#include "core/fd.h"
#include "core/result.h"

namespace ds01::audit {

class Sink {
 public:
  virtual ~Sink() = default;
  virtual Status write(const Entry& entry) = 0;
};

// journald, with native fields.
class JournalSink final : public Sink {
 public:
  Status write(const Entry& entry) override;
};

// A file of JSON lines, mode 0640, created if missing; never follows a link.
class JsonSink final : public Sink {
 public:
  explicit JsonSink(std::filesystem::path path) : path_(std::move(path)) {}
  // Opens the file anew: after it was moved away, or at the start. On error lines are lost until it succeeds.
  Status reopen();
  Status write(const Entry& entry) override;

 private:
  std::filesystem::path path_;
  Fd fd_;
  bool torn_ = false;  // the last line may lack its end
};

}  // namespace ds01::audit
