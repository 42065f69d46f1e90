// SPDX-License-Identifier: Apache-2.0
// The agent's store on disk: one SQLite file in WAL mode with full sync. Only database/ includes sqlite3.h. One thread.
// What has returned success survives a power cut; what has returned an error has changed nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/result.h"

namespace ds01::database {

using Value = std::variant<std::nullptr_t, std::int64_t, std::string>;

// One row of a result, valid during the call it is handed to. Columns are counted from 0.
class Row {
 public:
  virtual ~Row() = default;
  virtual std::int64_t integer(int column) const = 0;  // NULL reads as 0
  virtual std::optional<std::int64_t> optional_integer(int column) const = 0;
  virtual std::string text(int column) const = 0;  // NULL reads as ""
  virtual bool is_null(int column) const = 0;
};

class Database {
 public:
  // Opens or makes the file, checks it, and brings an older schema up to date. A file that cannot be used (corrupt,
  // empty, of a newer version, locked) is left as it is: the object then answers every call with fault(), so that the
  // rest of the agent can go on without it. On a full or read-only disk the file is opened to be read, if that is
  // possible.
  explicit Database(const std::filesystem::path& file);
  // The same with other migrations than this build's (schema.h).
  Database(const std::filesystem::path& file, std::span<const char* const> migrations);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Why the file cannot be used, with what to do. May come up later: a file that turns out to be corrupt is not touched
  // any more.
  const std::optional<Error>& fault() const;
  // Why it can be read but not written, with what to do. Changes answer with this.
  const std::optional<Error>& unwritable() const;
  // Whether there was a file. Without one, a fault hides nothing.
  bool found() const;

  // Opens it again, if it could not be used or written for a reason that may pass by itself: a lock, a full disk. Not
  // in a transaction. A file that was there and is gone is not made anew.
  void retry();

  // Runs one statement with its '?' bound in order, and hands over each row. Statements are prepared once per text.
  // Errors are ErrorCode::system and name the file, what is wrong with it and what to do.
  Status run(std::string_view sql, std::initializer_list<Value> values,
             const std::function<void(const Row&)>& take = {});

  // Runs `work` in a transaction: all of it is on disk when this returns success, none of it after an error (its own or
  // the disk's). Transactions nest; the outermost one commits. An error of an inner one undoes the inner one; it is
  // returned, and the outer one may go on unless the disk failed.
  Status transaction(const std::function<Status()>& work);

  // The schema's version in this build.
  static int version();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ds01::database
