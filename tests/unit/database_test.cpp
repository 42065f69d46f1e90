// SPDX-License-Identifier: Apache-2.0
// The store's file: what survives, what is refused, and that no failure leaves half of anything.
#include "database/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "database/schema.h"
#include "fakes.h"

namespace ds01::database {
namespace {

using fake::code;
using fake::message;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::array<const char*, 1> kOld{"CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)"};
constexpr std::array<const char*, 3> kNew{kOld[0], "CREATE TABLE notes (text TEXT)",
                                          "INSERT INTO notes SELECT value FROM facts"};
constexpr std::array<const char*, 3> kWrong{kOld[0], "CREATE TABLE notes (text TEXT)",
                                            "CREATE TABLE notes (text TEXT)"};

class DatabaseTest : public ::testing::Test {
 protected:
  static Status put(Database& database, const std::string& name, const std::string& value = "x") {
    return database.run("INSERT INTO facts (name, value) VALUES (?, ?)", {name, value});
  }
  static std::string all(Database& database) {
    std::string names;
    EXPECT_EQ(message(database.run("SELECT name FROM facts ORDER BY name", {},
                                   [&](const Row& row) { names += row.text(0) + " "; })),
              "");
    return names;
  }
  std::string fault() const {
    const Database database(file_);
    return database.fault() ? database.fault()->message : "";
  }
  // Runs in a process of its own: limits, credentials and locks end with it. Returns its exit status.
  static int in_child(const std::function<bool()>& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work() ? 0 : 1);
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }
  // A file with some pages of facts, all of them in the main file.
  void make_large() const {
    Database database(file_);
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(put(database, std::to_string(1000 + i), std::string(1000, 'v')));
  }
  void overwrite(std::size_t offset, const std::string& bytes) const {
    std::fstream file(file_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
  }

  fake::Folder folder_;
  const std::filesystem::path file_ = folder_.path() / "state" / "ds01.db";
};

// ---- a good file

TEST_F(DatabaseTest, NewFileIsMadeForNobodyElse) {
  const Database database(file_);
  ASSERT_EQ(database.fault(), std::nullopt);
  struct stat status{};
  ASSERT_EQ(::stat(file_.parent_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  for (const auto* suffix : {"", "-wal", "-shm"}) {
    ASSERT_EQ(::stat((file_.string() + suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 07777, 0600U) << suffix;
  }
}

TEST_F(DatabaseTest, FileOpenToOthersIsClosed) {
  {
    const Database database(file_);
  }
  std::filesystem::permissions(file_, std::filesystem::perms(0644));
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(std::filesystem::status(file_).permissions(), std::filesystem::perms(0600));
}

TEST_F(DatabaseTest, SettingsAreThoseThatSurviveAPowerCut) {
  Database database(file_);
  std::string mode;
  std::int64_t synchronous = 0;
  std::int64_t owner = 0;
  std::int64_t version = 0;
  ASSERT_TRUE(database.run("PRAGMA journal_mode", {}, [&](const Row& row) { mode = row.text(0); }));
  ASSERT_TRUE(database.run("PRAGMA synchronous", {}, [&](const Row& row) { synchronous = row.integer(0); }));
  ASSERT_TRUE(database.run("PRAGMA application_id", {}, [&](const Row& row) { owner = row.integer(0); }));
  ASSERT_TRUE(database.run("PRAGMA user_version", {}, [&](const Row& row) { version = row.integer(0); }));
  EXPECT_EQ(mode, "wal");
  EXPECT_EQ(synchronous, 2);
  EXPECT_EQ(owner, 0x44533031);
  EXPECT_EQ(version, Database::version());
}

TEST_F(DatabaseTest, ValuesReadBackAsTheyWere) {
  Database database(file_);
  std::string text("a\0b\xff", 4);
  int rows = 0;
  ASSERT_TRUE(database.run("SELECT ?, ?, ?, ?", {text, std::int64_t{-5}, nullptr, std::string()}, [&](const Row& row) {
    ++rows;
    EXPECT_EQ(row.text(0), text);
    EXPECT_EQ(row.integer(1), -5);
    EXPECT_EQ(row.optional_integer(1), -5);
    EXPECT_TRUE(row.is_null(2));
    EXPECT_EQ(row.integer(2), 0);
    EXPECT_EQ(row.optional_integer(2), std::nullopt);
    EXPECT_EQ(row.text(2), "");
    EXPECT_FALSE(row.is_null(3));
  }));
  EXPECT_EQ(rows, 1);
}

TEST_F(DatabaseTest, SameStatementMayRunInsideItself) {
  Database database(file_);
  ASSERT_TRUE(put(database, "a"));
  ASSERT_TRUE(put(database, "b"));
  std::string seen;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(database.run("SELECT name FROM facts", {}, [&](const Row& row) {
      seen += row.text(0);
      ASSERT_TRUE(database.run("SELECT name FROM facts", {}, [&](const Row& inner) { seen += inner.text(0); }));
    }));
  EXPECT_EQ(seen, "aabbabaabbab");
}

TEST_F(DatabaseTest, StatementThatIsWrongNamesTheFile) {
  Database database(file_);
  const auto result = database.run("SELECT name FROM nowhere", {});
  EXPECT_EQ(code(result), ErrorCode::system);
  EXPECT_THAT(message(result), AllOf(StartsWith(file_.string()), HasSubstr("nowhere")));
  EXPECT_TRUE(put(database, "a"));
}

// ---- transactions

TEST_F(DatabaseTest, WhatIsDoneSurvivesAKill) {
  EXPECT_EQ(in_child([&] {
              Database database(file_);
              return put(database, "a").has_value() && ::kill(::getpid(), SIGKILL) == 0;
            }),
            SIGKILL);
  Database database(file_);
  EXPECT_EQ(all(database), "a ");
}

TEST_F(DatabaseTest, WhatIsHalfDoneIsNotThereAfterAKill) {
  in_child([&] {
    Database database(file_);
    return database
        .transaction([&] {
          EXPECT_TRUE(put(database, "a"));
          ::kill(::getpid(), SIGKILL);
          return Status();
        })
        .has_value();
  });
  Database database(file_);
  EXPECT_EQ(all(database), "");
}

TEST_F(DatabaseTest, TransactionThatFailsLeavesNothing) {
  Database database(file_);
  const auto result = database.transaction([&]() -> Status {
    DS01_CHECK(put(database, "a"));
    return fail(ErrorCode::conflict, "changed my mind");
  });
  EXPECT_EQ(code(result), ErrorCode::conflict);
  EXPECT_EQ(all(database), "");
  EXPECT_TRUE(put(database, "b"));
}

TEST_F(DatabaseTest, InnerTransactionThatFailsUndoesItself) {
  Database database(file_);
  ASSERT_TRUE(database.transaction([&]() -> Status {
    DS01_CHECK(put(database, "a"));
    const auto inner = database.transaction([&]() -> Status {
      DS01_CHECK(put(database, "b"));
      return put(database, "b");
    });
    EXPECT_THAT(message(inner), HasSubstr("UNIQUE"));
    return database.transaction([&] { return put(database, "c"); });
  }));
  EXPECT_EQ(all(database), "a c ");
}

TEST_F(DatabaseTest, OuterTransactionThatFailsUndoesTheInnerOne) {
  Database database(file_);
  EXPECT_FALSE(database.transaction([&]() -> Status {
    DS01_CHECK(database.transaction([&] { return put(database, "a"); }));
    return fail(ErrorCode::conflict, "changed my mind");
  }));
  EXPECT_EQ(all(database), "");
}

// ---- versions

TEST_F(DatabaseTest, OlderFileIsBroughtUpToDate) {
  {
    Database old(file_, kOld);
    ASSERT_TRUE(put(old, "a", "kept"));
  }
  Database database(file_, kNew);
  ASSERT_EQ(database.fault(), std::nullopt);
  std::string text;
  ASSERT_TRUE(database.run("SELECT text FROM notes", {}, [&](const Row& row) { text = row.text(0); }));
  EXPECT_EQ(text, "kept");
  EXPECT_EQ(all(database), "a ");
}

TEST_F(DatabaseTest, MigrationThatFailsIsNotHalfThere) {
  {
    const Database old(file_, kOld);
  }
  {
    const Database database(file_, kWrong);
    ASSERT_TRUE(database.fault());
    EXPECT_THAT(database.fault()->message, HasSubstr("notes already exists"));
  }
  // The step before it stands, and the right one goes on from there.
  const Database database(file_, kNew);
  EXPECT_EQ(database.fault(), std::nullopt);
}

TEST_F(DatabaseTest, NewerFileIsRefusedAndLeftAsItIs) {
  {
    Database newer(file_, kNew);
    ASSERT_TRUE(put(newer, "a"));
  }
  const auto before = folder_.read("state/ds01.db");
  EXPECT_EQ(fault(), file_.string() + " was written by a newer version of ds01 (schema 3, this one knows " +
                         std::to_string(Database::version()) + "): install that version again");
  EXPECT_EQ(folder_.read("state/ds01.db"), before);
}

TEST_F(DatabaseTest, FaultAnswersEveryCall) {
  {
    const Database newer(file_, kNew);
  }
  Database database(file_, kOld);
  ASSERT_TRUE(database.fault());
  EXPECT_EQ(database.fault()->code, ErrorCode::system);
  bool ran = false;
  EXPECT_EQ(message(put(database, "a")), database.fault()->message);
  EXPECT_EQ(message(database.transaction([&] {
              ran = true;
              return Status();
            })),
            database.fault()->message);
  EXPECT_FALSE(ran);
}

TEST_F(DatabaseTest, ForeignFileIsRefusedAndLeftAsItIs) {
  {
    const Database other(file_, kOld);
  }
  overwrite(68, "ELSE");  // the application id
  const auto before = folder_.read("state/ds01.db");
  EXPECT_THAT(fault(), HasSubstr("is no database of ds01's: move it away"));
  EXPECT_EQ(folder_.read("state/ds01.db"), before);
}

// Ours are never empty, as a new one gets its name when it is whole.
TEST_F(DatabaseTest, EmptyFileIsRefused) {
  folder_.write("state/ds01.db", "");
  EXPECT_THAT(fault(), HasSubstr("is corrupt (it is empty): move it away"));
  EXPECT_EQ(folder_.read("state/ds01.db"), "");
}

TEST_F(DatabaseTest, FileHalfMadeIsMadeAnew) {
  folder_.write("state/ds01.db.new", "half");
  EXPECT_EQ(fault(), "");
  EXPECT_FALSE(std::filesystem::exists(file_.string() + ".new"));
}

// ---- damage

TEST_F(DatabaseTest, PageCorruptInTheMiddleIsFoundAtOnce) {
  make_large();
  overwrite(std::filesystem::file_size(file_) / 2 / 4096 * 4096, std::string(4096, '\xff'));
  const auto before = folder_.read("state/ds01.db");
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(fault(), AllOf(StartsWith(file_.string() + " is corrupt ("),
                               HasSubstr("): move it away, or put a copy in its place, and restart ds01d")));
  EXPECT_EQ(folder_.read("state/ds01.db"), before);
}

TEST_F(DatabaseTest, FileOfSomethingElseIsCorrupt) {
  const std::string text = std::string(5000, 'x');
  folder_.write("state/ds01.db", text);
  EXPECT_THAT(fault(), HasSubstr("is corrupt (file is not a database)"));
  EXPECT_EQ(folder_.read("state/ds01.db"), text);
}

TEST_F(DatabaseTest, FileCutOffIsCorrupt) {
  make_large();
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  const auto before = folder_.read("state/ds01.db");
  EXPECT_THAT(fault(), HasSubstr("is corrupt"));
  EXPECT_EQ(folder_.read("state/ds01.db"), before);
}

TEST_F(DatabaseTest, CorruptionFoundLaterIsAFaultFromThenOn) {
  make_large();
  Database database(file_);
  ASSERT_EQ(database.fault(), std::nullopt);
  ASSERT_TRUE(database.run("PRAGMA shrink_memory", {}));  // or it answers from its cache
  overwrite(4096 * 10, std::string(4096 * 30, '\xff'));
  const auto result = database.run("SELECT sum(length(value)) FROM facts", {});
  EXPECT_EQ(code(result), ErrorCode::system);
  EXPECT_THAT(message(result), HasSubstr("is corrupt"));
  ASSERT_TRUE(database.fault());
  EXPECT_EQ(message(put(database, "a")), database.fault()->message);
}

TEST_F(DatabaseTest, FileLockedByAnotherCanBeReadUntilItIsFree) {
  Database other(file_);
  ASSERT_TRUE(put(other, "a"));
  std::optional<Database> database;
  ASSERT_TRUE(other.transaction([&] {
    database.emplace(file_);
    return Status();
  }));
  const auto why =
      file_.string() + " is locked by another process: end it (fuser " + file_.string() + ") and try again";
  EXPECT_EQ(database->fault(), std::nullopt);
  ASSERT_TRUE(database->unwritable());
  EXPECT_EQ(database->unwritable()->message, why);
  EXPECT_EQ(all(*database), "a ");
  EXPECT_EQ(message(put(*database, "b")), why);
  EXPECT_EQ(message(database->transaction([&] { return put(*database, "b"); })), why);
  database->retry();
  EXPECT_EQ(database->unwritable(), std::nullopt);
  EXPECT_TRUE(put(*database, "b"));
  EXPECT_EQ(all(*database), "a b ");
}

// Nobody else may even read.
void take_for_oneself(Database& database) {
  ASSERT_TRUE(database.run("PRAGMA locking_mode = EXCLUSIVE", {}));
  ASSERT_TRUE(database.run("INSERT INTO facts (name, value) VALUES ('taken', '')", {}));
}

TEST_F(DatabaseTest, FileLockedAgainstReadersIsAFaultThatPasses) {
  std::optional<Database> other(file_);
  other.emplace(file_);
  take_for_oneself(*other);
  Database database(file_);
  ASSERT_TRUE(database.fault());
  EXPECT_THAT(database.fault()->message, HasSubstr("is locked by another process"));
  EXPECT_TRUE(database.found());
  database.retry();
  EXPECT_TRUE(database.fault());
  other.reset();
  database.retry();
  EXPECT_EQ(database.fault(), std::nullopt);
  EXPECT_TRUE(put(database, "b"));
}

TEST_F(DatabaseTest, FileThatIsGoneIsNotMadeAnewByARetry) {
  std::optional<Database> other(file_);
  other.emplace(file_);
  take_for_oneself(*other);
  Database database(file_);
  ASSERT_TRUE(database.fault());
  other.reset();
  std::filesystem::rename(file_, folder_.path() / "elsewhere");
  database.retry();
  ASSERT_TRUE(database.fault());
  EXPECT_THAT(database.fault()->message, HasSubstr("is gone: put it back"));
  std::filesystem::rename(folder_.path() / "elsewhere", file_);
  database.retry();
  EXPECT_EQ(database.fault(), std::nullopt);
  EXPECT_EQ(all(database), "taken ");
}

TEST_F(DatabaseTest, CorruptFileIsNotTriedAgain) {
  make_large();
  const auto good = folder_.read("state/ds01.db");
  overwrite(std::filesystem::file_size(file_) / 2 / 4096 * 4096, std::string(4096, '\xff'));
  Database database(file_);
  EXPECT_TRUE(database.found());
  folder_.write("state/ds01.db", good);
  database.retry();
  ASSERT_TRUE(database.fault());
  EXPECT_THAT(database.fault()->message, HasSubstr("is corrupt"));
}

TEST_F(DatabaseTest, FaultWithoutAFileHidesNothing) {
  folder_.write("state", "a file where the folder should be");
  Database database(file_ / "deeper");
  EXPECT_TRUE(database.fault());
  const Database nowhere("/proc/ds01/ds01.db");
  EXPECT_FALSE(nowhere.found());
}

TEST_F(DatabaseTest, LockInUseIsAnErrorOfThatCallOnly) {
  Database database(file_);
  Database other(file_);
  ASSERT_TRUE(other.transaction([&] {
    const auto result = put(database, "a");
    EXPECT_EQ(code(result), ErrorCode::system);
    EXPECT_THAT(message(result), HasSubstr("is locked by another process"));
    EXPECT_FALSE(database.transaction([] { return Status(); }));
    return Status();
  }));
  EXPECT_EQ(database.fault(), std::nullopt);
  EXPECT_TRUE(put(database, "b"));
  EXPECT_EQ(all(database), "b ");
}

// ---- full and read-only disks

TEST_F(DatabaseTest, FullDiskChangesNothing) {
  Database database(file_);
  ASSERT_TRUE(put(database, "a"));
  ASSERT_TRUE(database.run("PRAGMA max_page_count = 1", {}));  // SQLite takes what the file has now as the limit
  const auto result = database.transaction([&]() -> Status {
    DS01_CHECK(put(database, "b"));
    return put(database, "c", std::string(100'000, 'x'));
  });
  EXPECT_EQ(code(result), ErrorCode::system);
  EXPECT_EQ(message(result), file_.string() + " cannot be written: the disk is full: free some space");
  EXPECT_EQ(all(database), "a ");
  ASSERT_TRUE(database.run("PRAGMA max_page_count = 100000", {}));
  EXPECT_TRUE(put(database, "c", std::string(100'000, 'x')));
}

// SQLite has given the transaction up by then; what is written after must not be kept on its own.
TEST_F(DatabaseTest, TransactionGivenUpTakesNothingMore) {
  Database database(file_);
  ASSERT_TRUE(database.run("PRAGMA max_page_count = 1", {}));
  const auto result = database.transaction([&]() -> Status {
    EXPECT_FALSE(put(database, "a", std::string(100'000, 'x')));
    EXPECT_FALSE(database.transaction([&] { return put(database, "b"); }));
    (void)put(database, "c");
    return {};
  });
  EXPECT_THAT(message(result), HasSubstr("the disk is full"));
  EXPECT_EQ(all(database), "");
  EXPECT_TRUE(put(database, "d"));
}

// The same from the system: a write that the kernel refuses.
void limit_files(rlim_t size) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{size, RLIM_INFINITY};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

TEST_F(DatabaseTest, FullDiskAtOpeningIsAFaultThatPasses) {
  const auto full = file_.string() + " cannot be written: the disk is full: free some space";
  EXPECT_EQ(in_child([&] {
              limit_files(8192);
              Database database(file_);
              EXPECT_EQ(database.fault() ? database.fault()->message : "", full);
              EXPECT_FALSE(database.found());
              limit_files(RLIM_INFINITY);
              database.retry();
              return !testing::Test::HasFailure() && put(database, "a").has_value();
            }),
            0);
}

TEST_F(DatabaseTest, FileOnAFullDiskCanBeRead) {
  {
    Database database(file_);
    ASSERT_TRUE(put(database, "a"));
  }
  EXPECT_EQ(in_child([&] {
              limit_files(8192);
              Database database(file_);
              EXPECT_EQ(all(database), "a ");
              EXPECT_THAT(message(put(database, "b")), HasSubstr("the disk is full"));
              EXPECT_TRUE(database.unwritable());
              limit_files(RLIM_INFINITY);
              database.retry();
              return !testing::Test::HasFailure() && put(database, "b").has_value();
            }),
            0);
}

// Root may write anything, so this needs somebody else.
bool become_nobody() { return ::geteuid() != 0 || (::setgid(65534) == 0 && ::setuid(65534) == 0); }

class ReadOnlyTest : public DatabaseTest {
 protected:
  // Everything there is, for somebody who may write none of it.
  void expect_read(const std::string& names) {
    std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
    for (const auto& entry : std::filesystem::directory_iterator(file_.parent_path()))
      std::filesystem::permissions(entry.path(), std::filesystem::perms(0444));
    std::filesystem::permissions(file_.parent_path(), std::filesystem::perms(0555));
    const auto before = folder_.read("state/ds01.db");
    EXPECT_EQ(in_child([&] { return become_nobody() && reads(names); }), 0);
    EXPECT_EQ(folder_.read("state/ds01.db"), before);
    std::filesystem::permissions(file_.parent_path(), std::filesystem::perms(0755));
  }

 private:
  bool reads(const std::string& names) const {
    Database database(file_);
    EXPECT_EQ(database.unwritable() ? database.unwritable()->message : "",
              file_.string() + " cannot be written: it or its file system is read-only: make both writable");
    EXPECT_EQ(all(database), names);
    EXPECT_THAT(message(put(database, "x")), HasSubstr("is read-only: make both writable"));
    return !testing::Test::HasFailure();
  }
};

TEST_F(ReadOnlyTest, FileThatWasClosedCanBeRead) {
  {
    Database database(file_);
    ASSERT_TRUE(put(database, "a"));
  }
  expect_read("a ");
}

// What a crash has left in the log beside the file counts.
TEST_F(ReadOnlyTest, FileWithALogCanBeRead) {
  in_child([&] {
    Database database(file_);
    EXPECT_TRUE(put(database, "a"));
    return ::kill(::getpid(), SIGKILL) == 0;
  });
  ASSERT_GT(std::filesystem::file_size(file_.string() + "-wal"), 0U);
  expect_read("a ");
}

// Without the log the file says something that is over, so it is not read without it.
TEST_F(ReadOnlyTest, FileWithALogThatCannotBeReadIsAFault) {
  in_child([&] {
    Database database(file_);
    EXPECT_TRUE(put(database, "a"));
    return ::kill(::getpid(), SIGKILL) == 0;
  });
  std::filesystem::remove(file_.string() + "-shm");
  for (const auto& path : {file_, std::filesystem::path(file_.string() + "-wal")})
    std::filesystem::permissions(path, std::filesystem::perms(0444));
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(file_.parent_path(), std::filesystem::perms(0555));
  EXPECT_EQ(in_child([&] {
              const bool nobody = become_nobody();
              const Database database(file_);
              return nobody && database.fault() && database.found();
            }),
            0);
  std::filesystem::permissions(file_.parent_path(), std::filesystem::perms(0755));
}

TEST_F(DatabaseTest, FolderThatCannotBeMadeIsAFault) {
  const Database database("/proc/ds01/ds01.db");
  ASSERT_TRUE(database.fault());
  EXPECT_THAT(database.fault()->message, StartsWith("/proc/ds01/ds01.db cannot be used: "));
}

}  // namespace
}  // namespace ds01::database
