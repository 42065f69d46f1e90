// SPDX-License-Identifier: Apache-2.0
#include "database/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "core/fd.h"
#include "database/schema.h"

namespace ds01::database {
namespace {

constexpr int kApplicationId = 0x44533031;  // "DS01", at a fixed place in the file: file(1) shows it
constexpr int kBusyMs = 250;

struct CloseDatabase {
  void operator()(sqlite3* db) const { ::sqlite3_close_v2(db); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

class SqliteRow final : public Row {
 public:
  explicit SqliteRow(sqlite3_stmt* statement) : statement_(statement) {}
  std::int64_t integer(int column) const override { return ::sqlite3_column_int64(statement_, column); }
  std::optional<std::int64_t> optional_integer(int column) const override {
    return is_null(column) ? std::nullopt : std::optional(integer(column));
  }
  std::string text(int column) const override {
    const auto* data = ::sqlite3_column_text(statement_, column);
    if (data == nullptr) return "";
    return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column))};
  }
  bool is_null(int column) const override { return ::sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  sqlite3_stmt* statement_;
};

int bind(sqlite3_stmt* statement, int position, const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return ::sqlite3_bind_int64(statement, position, *number);
  if (const auto* text = std::get_if<std::string>(&value))  // lives until the statement is reset
    return ::sqlite3_bind_text64(statement, position, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  return ::sqlite3_bind_null(statement, position);
}

bool is_corrupt(int code) { return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB; }
bool is_full(int code, int system_error) {
  return (code & 0xff) == SQLITE_FULL || system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
}
bool is_read_only(int code, int system_error) {
  return (code & 0xff) == SQLITE_READONLY || system_error == EROFS || system_error == EACCES || system_error == EPERM;
}

// Whether the same may succeed later although nobody has touched the file.
bool may_pass(int code) {
  constexpr std::array kPassing{SQLITE_BUSY, SQLITE_LOCKED,   SQLITE_FULL,  SQLITE_READONLY,
                                SQLITE_PERM, SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_NOMEM};
  return std::ranges::find(kPassing, code & 0xff) != kPassing.end();
}

// What a failure means to the admin, and what to do.
std::string explain(const std::string& file, int code, int system_error, std::string_view text) {
  const auto primary = code & 0xff;
  if (is_corrupt(code))
    return fmt::format(
        "{} is corrupt ({}): move it away, or put a copy in its place, and restart ds01d; without a copy it starts "
        "with "
        "an empty store",
        file, text);
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
    return fmt::format("{} is locked by another process: end it (fuser {}) and try again", file, file);
  // Only failures of the file have a system error of their own; after others an old one may still be there.
  const int error = primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? system_error : 0;
  if (is_full(code, error)) return fmt::format("{} cannot be written: the disk is full: free some space", file);
  if (is_read_only(code, error))
    return fmt::format("{} cannot be written: it or its file system is read-only: make both writable", file);
  if (error != 0) return fmt::format("{} cannot be used: {} ({}): check the disk", file, text, std::strerror(error));
  return fmt::format("{} cannot be used: {}: restart ds01d, and report this if it stays", file, text);
}

bool exists(const std::string& file) {
  struct stat status;
  return ::stat(file.c_str(), &status) == 0 || errno != ENOENT;
}

bool is_empty(const std::string& file) {
  struct stat status;
  return ::stat(file.c_str(), &status) == 0 ? status.st_size == 0 : errno == ENOENT;
}

bool sync_folder(const std::filesystem::path& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0;
}

}  // namespace

struct Database::Impl {
  std::string file;
  std::span<const char* const> migrations;
  bool found = false;  // the file was there
  std::unique_ptr<sqlite3, CloseDatabase> db;
  std::map<std::string, Statement, std::less<>> statements;  // after db, so that they go first
  std::optional<Error> fault;
  std::optional<Error> unwritable;
  bool passing = false;       // of these two: the same may succeed later
  int depth = 0;              // of transactions
  std::optional<Error> lost;  // why SQLite gave up the running transaction

  static std::unique_ptr<Impl> make(std::string file, std::span<const char* const> migrations, bool found);
  Status open();
  Status make_file();
  Status open_to_write();
  Status open_to_read(bool immutable);
  Status connect(const std::string& name, int flags);
  void disconnect();
  Status check();
  Status set_journal();
  Status check_owner();
  Result<int> version();
  Status migrate();
  Status failed(int code);
  Status refused(int system_error);
  Status corrupt(std::string_view text);
  Result<Statement> prepare(std::string_view sql);
  Status step(sqlite3_stmt* statement, std::initializer_list<Value> values,
              const std::function<void(const Row&)>& take);
  Status run(std::string_view sql, std::initializer_list<Value> values = {},
             const std::function<void(const Row&)>& take = {});
  Status execute(const std::string& sql);
  Result<std::int64_t> number(std::string_view sql);
  Status transaction(const std::function<Status()>& work);
  Status finish(const std::string& savepoint);
  void undo(const std::string& savepoint);
};

// ---- Running

// The error of what just failed. A corrupt file is a lasting fault: nothing may be written to it any more.
Status Database::Impl::failed(int code) {
  const bool known = unwritable && (code & 0xff) == SQLITE_READONLY;
  const Error error = known ? *unwritable
                            : Error{ErrorCode::system,
                                    explain(file, code, ::sqlite3_system_errno(db.get()), ::sqlite3_errmsg(db.get()))};
  if (depth > 0 && !lost && ::sqlite3_get_autocommit(db.get()) != 0) lost = error;
  passing = passing || may_pass(code);
  if (!is_corrupt(code)) return std::unexpected(error);
  passing = false;
  if (!fault) ::sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (!fault) fault = error;
  return std::unexpected(error);
}

// What the system said about the file, outside of SQLite.
Status Database::Impl::refused(int system_error) {
  passing = true;
  return fail(ErrorCode::system, explain(file, SQLITE_CANTOPEN, system_error, "it cannot be opened"));
}

Status Database::Impl::corrupt(std::string_view text) {
  passing = false;
  fault = Error{ErrorCode::system, explain(file, SQLITE_CORRUPT, 0, text)};
  return std::unexpected(*fault);
}

// A statement that is in use is not in the cache, so that a row's taker may run the same text again.
Result<Statement> Database::Impl::prepare(std::string_view sql) {
  if (auto cached = statements.find(sql); cached != statements.end() && cached->second)
    return std::move(cached->second);
  sqlite3_stmt* statement = nullptr;
  const int code = ::sqlite3_prepare_v3(db.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement, nullptr);
  if (code != SQLITE_OK) {
    DS01_CHECK(failed(code));
  }
  return Statement(statement);
}

Status Database::Impl::step(sqlite3_stmt* statement, std::initializer_list<Value> values,
                            const std::function<void(const Row&)>& take) {
  int position = 0;
  for (const auto& value : values)
    if (const int code = bind(statement, ++position, value); code != SQLITE_OK) return failed(code);
  const SqliteRow row(statement);
  int code;
  while ((code = ::sqlite3_step(statement)) == SQLITE_ROW)
    if (take) take(row);
  return code == SQLITE_DONE ? Status() : failed(code);
}

Status Database::Impl::run(std::string_view sql, std::initializer_list<Value> values,
                           const std::function<void(const Row&)>& take) {
  if (fault) return std::unexpected(*fault);
  // SQLite ends a transaction by itself when the disk fails. What follows must not be committed on its own.
  if (lost) return std::unexpected(*lost);
  DS01_TRY(auto statement, prepare(sql));
  auto status = step(statement.get(), values, take);
  ::sqlite3_reset(statement.get());
  ::sqlite3_clear_bindings(statement.get());
  statements.insert_or_assign(std::string(sql), std::move(statement));
  return status;
}

Status Database::Impl::execute(const std::string& sql) {
  const int code = ::sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : failed(code);
}

Result<std::int64_t> Database::Impl::number(std::string_view sql) {
  std::int64_t number = 0;
  DS01_CHECK(run(sql, {}, [&](const Row& row) { number = row.integer(0); }));
  return number;
}

void Database::Impl::undo(const std::string& savepoint) {
  if (lost) return;
  // If undoing fails as well, SQLite does it when the file is opened next: nothing was committed.
  if (savepoint.empty())
    (void)execute("ROLLBACK");
  else
    (void)execute("ROLLBACK TO " + savepoint + "; RELEASE " + savepoint);
}

Status Database::Impl::finish(const std::string& savepoint) {
  if (lost) return std::unexpected(*lost);
  return execute(savepoint.empty() ? "COMMIT" : "RELEASE " + savepoint);
}

Status Database::Impl::transaction(const std::function<Status()>& work) {
  if (fault) return std::unexpected(*fault);
  if (lost) return std::unexpected(*lost);
  const auto savepoint = depth == 0 ? std::string() : fmt::format("inner{}", depth);
  // IMMEDIATE: who else writes is found out now, not at the first change.
  DS01_CHECK(execute(savepoint.empty() ? "BEGIN IMMEDIATE" : "SAVEPOINT " + savepoint));
  ++depth;
  auto status = work();
  if (status) status = finish(savepoint);
  if (!status) undo(savepoint);
  if (--depth == 0) lost.reset();
  return status;
}

// ---- Opening

// A file that cannot be written is still good to be read from.
Status Database::Impl::open() {
  const bool there = exists(file);
  if (!there && found) {
    passing = true;
    return fail(ErrorCode::system,
                fmt::format("{} is gone: put it back, or restart ds01d to start with an empty store", file));
  }
  found = there;
  // Before SQLite sees it, which would take the log beside it away.
  if (there && is_empty(file)) return corrupt("it is empty");
  auto writable = there ? Status() : make_file();
  if (writable) writable = open_to_write();
  if (writable || !passing || !there) return writable;
  auto readable = open_to_read(false);
  // Without this SQLite needs to write beside the file. It means that nobody changes it and that the log is not read.
  if (!readable && !fault && is_empty(file + "-wal")) readable = open_to_read(true);
  if (fault) return std::unexpected(*fault);
  if (!readable) return writable;
  unwritable = writable.error();
  return {};
}

// Under another name until it is whole, so that an empty file is never one of ours.
Status Database::Impl::make_file() {
  const auto fresh = file + ".new";
  for (const auto* suffix : {"", "-wal", "-shm"}) ::unlink((fresh + suffix).c_str());
  const auto folder = std::filesystem::path(file).parent_path();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return refused(errno);
  // Readable by nobody else: SQLite would go by the umask, and its other files follow.
  if (const Fd fd(::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)); !fd) return refused(errno);
  DS01_CHECK(connect(fresh, SQLITE_OPEN_READWRITE));
  DS01_CHECK(set_journal());
  DS01_CHECK(migrate());
  DS01_CHECK(execute("PRAGMA wal_checkpoint(TRUNCATE)"));  // the log keeps the name it has now
  disconnect();
  if (::rename(fresh.c_str(), file.c_str()) != 0 || !sync_folder(folder)) return refused(errno);
  return {};
}

Status Database::Impl::connect(const std::string& name, int flags) {
  disconnect();
  sqlite3* handle = nullptr;
  const int code = ::sqlite3_open_v2(name.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  db.reset(handle);
  if (code != SQLITE_OK) return failed(code);
  ::sqlite3_extended_result_codes(handle, 1);
  ::sqlite3_busy_timeout(handle, kBusyMs);
  return {};
}

void Database::Impl::disconnect() {
  statements.clear();
  db.reset();
}

Status Database::Impl::open_to_write() {
  {
    const Fd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd || ::fchmod(fd.get(), 0600) != 0) return refused(errno);
  }
  DS01_CHECK(connect(file, SQLITE_OPEN_READWRITE));
  // Until the file is known to be good, closing must not write to it either.
  ::sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  DS01_CHECK(check_owner());
  DS01_CHECK(check());
  DS01_CHECK(set_journal());
  DS01_CHECK(migrate());
  ::sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  return {};
}

Status Database::Impl::open_to_read(bool immutable) {
  const auto name = immutable ? fmt::format("file:{}?immutable=1", file) : file;
  DS01_CHECK(connect(name, SQLITE_OPEN_READONLY | (immutable ? SQLITE_OPEN_URI : 0)));
  DS01_CHECK(check_owner());
  DS01_TRY(const auto stored, version());
  if (stored != static_cast<int>(migrations.size()))
    return fail(ErrorCode::system, fmt::format("{} cannot be brought up to date", file));
  return check();
}

Result<int> Database::Impl::version() {
  DS01_TRY(const auto stored, number("PRAGMA user_version"));
  return static_cast<int>(stored);
}

Status Database::Impl::check_owner() {
  DS01_TRY(const auto owner, number("PRAGMA application_id"));
  DS01_TRY(const auto stored, version());
  if (owner != kApplicationId)
    return fail(
        ErrorCode::system,
        fmt::format("{} is no database of ds01's: move it away and restart ds01d to start with an empty store", file));
  const auto known = static_cast<int>(migrations.size());
  if (stored > known)
    return fail(ErrorCode::system,
                fmt::format("{} was written by a newer version of ds01 (schema {}, this one knows {}): install that "
                            "version again",
                            file, stored, known));
  return {};
}

Status Database::Impl::check() {
  std::string answer;
  DS01_CHECK(run("PRAGMA quick_check(1)", {}, [&](const Row& row) { answer = row.text(0); }));
  if (answer == "ok") return {};
  std::ranges::replace(answer, '\n', ' ');
  return corrupt(answer);
}

// SQLite stays with the mode that is if the file system cannot do this one (no shared memory), and says so.
Status Database::Impl::set_journal() {
  std::string mode;
  DS01_CHECK(run("PRAGMA journal_mode = WAL", {}, [&](const Row& row) { mode = row.text(0); }));
  if (mode != "wal")
    return fail(ErrorCode::system,
                fmt::format("{} is on a file system without shared memory: put it on a local one", file));
  return execute("PRAGMA synchronous = FULL");
}

// One transaction a step. An empty one at the end shows whether the file can be written at all.
Status Database::Impl::migrate() {
  DS01_TRY(const auto stored, version());
  for (auto next = static_cast<std::size_t>(stored); next < migrations.size(); ++next)
    DS01_CHECK(transaction([&] {
      return execute(fmt::format("{}; PRAGMA application_id = {}; PRAGMA user_version = {}", migrations[next],
                                 kApplicationId, next + 1));
    }));
  return transaction([] { return Status(); });
}

std::unique_ptr<Database::Impl> Database::Impl::make(std::string file, std::span<const char* const> migrations,
                                                     bool found) {
  auto impl = std::make_unique<Impl>();
  impl->file = std::move(file);
  impl->migrations = migrations;
  impl->found = found;
  if (auto status = impl->open(); !status) impl->fault = std::move(status).error();
  return impl;
}

Database::Database(const std::filesystem::path& file) : Database(file, schema()) {}

Database::Database(const std::filesystem::path& file, std::span<const char* const> migrations)
    : impl_(Impl::make(file.string(), migrations, false)) {}

Database::~Database() = default;

const std::optional<Error>& Database::fault() const { return impl_->fault; }
const std::optional<Error>& Database::unwritable() const { return impl_->unwritable; }
bool Database::found() const { return impl_->found; }

void Database::retry() {
  if ((!impl_->fault && !impl_->unwritable) || !impl_->passing) return;
  const auto file = impl_->file;
  const auto migrations = impl_->migrations;
  const bool found = impl_->found;
  impl_.reset();  // two connections of one process would share their locks
  impl_ = Impl::make(file, migrations, found);
}

Status Database::run(std::string_view sql, std::initializer_list<Value> values,
                     const std::function<void(const Row&)>& take) {
  return impl_->run(sql, values, take);
}

Status Database::transaction(const std::function<Status()>& work) { return impl_->transaction(work); }

int Database::version() { return static_cast<int>(schema().size()); }

}  // namespace ds01::database
