// SPDX-License-Identifier: Apache-2.0
// Rows 22 and 31: a store that cannot be written, read or understood, and accounts that change under a grant. What is
// in force stays, nothing is widened, and every refusal says what to do.
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "harness.h"

namespace ds01::test {
namespace {

constexpr const char* kFolder = "/var/lib/ds01";
constexpr const char* kDatabase = "/var/lib/ds01/ds01.db";
constexpr const char* kFiller = "/var/lib/ds01/filler";

std::string read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

// Refused with exit code 1 and a message that names the file and contains `part`.
void expect_store_error(const std::vector<std::string>& arguments, const std::string& part) {
  const auto outcome = ctl(arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.out << outcome.err;
  expect_contains(outcome.err, kDatabase);
  expect_contains(outcome.err, part);
}

void expect_store_fault(const std::string& part) {
  const auto store = ctl_json({"status"}).at("store");
  EXPECT_FALSE(store.at("ok").as_bool());
  if (store.at("error").is_string()) expect_contains(std::string(store.at("error").as_string()), part);
  expect_contains(ctl({"status"}).out, "STORE BROKEN: ");
  expect_contains(ctl({"status"}, {.uid = kAlice}).out, part);
}

void expect_store_ok() { EXPECT_TRUE(ctl_json({"status"}).at("store").at("ok").as_bool()); }

std::string id_of(const json::value& grant) { return std::string(grant.at("id").as_string()); }

void wait_until_open(uid_t uid, int error) {
  eventually([&] { return open_as({.uid = uid}) == error; });
}

void wait_until_granted(const std::string& user) {
  eventually([&] { return ctl({"grant", user, "1h"}).code == 0; });
}

// What a reboot takes away: the agent and all that is in the kernel.
void pretend_reboot(Agent& agent) {
  EXPECT_EQ(agent.stop(), 0);
  EXPECT_EQ(run_command({"ds01d", "--detach"}).code, 0);
}

std::string in_mode(const std::string& mode) {
  return "version: 1\nmode: " + mode + "\naudit: {journald: false, json: /tmp/audit.jsonl}\n";
}

// ---- disk full, read-only ------------------------------------------------------------------------------------------

// The store has a small file system of its own.
class StoreDisk : public testing::Test {
 protected:
  void SetUp() override {
    forget_agents();
    std::filesystem::create_directories(kFolder);
    ASSERT_EQ(::mount("tmpfs", kFolder, "tmpfs", 0, "size=1m,mode=0700"), 0);
    agent_ = std::make_unique<Agent>(kRichConfig, true, Start::again);
  }
  void TearDown() override {
    agent_.reset();
    EXPECT_EQ(::umount(kFolder), 0);
    forget_agents();
  }
  Agent& agent() { return *agent_; }

  static void fill() {
    const Fd file(::open(kFiller, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string page(4096, 'x');
    while (::write(file.get(), page.data(), page.size()) == static_cast<ssize_t>(page.size())) continue;
    EXPECT_EQ(errno, ENOSPC);
  }
  static void make_room() { EXPECT_EQ(::unlink(kFiller), 0); }
  static void remount(unsigned long flags) {
    EXPECT_EQ(::mount(nullptr, kFolder, nullptr, MS_REMOUNT | flags, "size=1m,mode=0700"), 0) << errno;
  }
  static void expect_alice_only() {
    EXPECT_EQ(open_as({.uid = kAlice}), 0);
    EXPECT_EQ(open_as({.uid = kBob}), EACCES);
    EXPECT_EQ(ctl({"show", "bob"}).code, 4);
  }

 private:
  std::unique_ptr<Agent> agent_;
};

TEST_F(StoreDisk, Attack22FullDiskRefusesLoudly) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  const auto before = ctl_json({"show", "alice"});
  fill();
  expect_store_error({"grant", "bob", "1h"}, "the disk is full");
  expect_store_error({"extend", "alice", "1h"}, "the disk is full");
  expect_store_error({"mode", "disabled"}, "the disk is full");
  expect_alice_only();
  EXPECT_EQ(ctl_json({"show", "alice"}).at("expires_at"), before.at("expires_at"));
  make_room();
  EXPECT_EQ(ctl({"grant", "bob", "1h"}).code, 0);
  EXPECT_EQ(open_as({.uid = kBob}), 0);
}

TEST_F(StoreDisk, Attack22RevokeOnAFullDiskIsAllOrNothing) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  fill();
  expect_store_error({"revoke", "alice"}, "the disk is full");
  expect_alice_only();
  EXPECT_EQ(ctl_json({"show", "alice"}).at("state").as_string(), "active");
  make_room();
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(StoreDisk, Attack22DeadlineHoldsOnAFullDisk) {
  const auto id = id_of(ctl_json({"grant", "alice", "15s"}));
  fill();
  wait_until_open(kAlice, EACCES);
  EXPECT_EQ(ctl({"status"}).code, 0);
  EXPECT_TRUE(ctl_json({"history"}).as_array().empty());  // that it has ended cannot be written down yet
  make_room();
  eventually([&] { return ctl_json({"show", id}).at("state").as_string() == "expired"; });
  EXPECT_EQ(ctl_json({"history"}).at(0).at("id").as_string(), id);
  agent().wait_for_audit("expiry",
                         [&](const json::object& line) { return line.at("unmapped").at("grant").as_string() == id; });
}

TEST_F(StoreDisk, Attack22StartOnAFullDisk) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  agent().kill();
  fill();
  agent().start_again();
  expect_store_error({"grant", "bob", "1h"}, "the disk is full");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  make_room();
  wait_until_granted("bob");
  expect_store_ok();
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  EXPECT_TRUE(agent().audit("drift").empty());
}

// SQLite has nothing open and finds no room to open it.
TEST_F(StoreDisk, Attack22FullDiskAfterAReboot) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  EXPECT_EQ(ctl({"mode", "monitoring"}).code, 0);
  pretend_reboot(agent());
  fill();
  agent().start_again();
  expect_store_fault("the disk is full");
  EXPECT_EQ(ctl_json({"mode"}).at("gpu").at("mode").as_string(), "monitoring");
  EXPECT_EQ(ctl_json({"show", "alice"}).at("state").as_string(), "active");
  make_room();
  eventually([] { return ctl({"mode", "--default"}).code == 0; });
  expect_store_ok();
  expect_alice_only();
}

TEST_F(StoreDisk, Attack22ReadOnlyAfterAReboot) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  pretend_reboot(agent());
  remount(MS_RDONLY);
  agent().start_again();
  expect_store_fault("read-only");
  expect_alice_only();
  remount(0);
  wait_until_granted("bob");
  expect_store_ok();
}

TEST_F(StoreDisk, Attack22ReadOnlyFileSystem) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  agent().kill();
  remount(MS_RDONLY);
  agent().start_again();
  expect_store_fault("read-only");
  expect_store_error({"grant", "bob", "1h"}, "read-only");
  expect_store_error({"revoke", "alice"}, "read-only");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  remount(0);
  eventually([] { return ctl({"revoke", "alice"}).code == 0; });
  expect_store_ok();
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_TRUE(agent().audit("drift").empty());
}

// ---- locked, corrupt, newer ----------------------------------------------------------------------------------------

class Store : public testing::Test {
 protected:
  void TearDown() override {
    if (agent_.pid() > 0) agent_.stop();
    forget_agents();
  }
  Agent& agent() { return agent_; }

  // Grants, long enough in words to fill some pages.
  static void fill_store() {
    EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
    for (int uid = 4000; uid < 4015; ++uid)
      EXPECT_EQ(ctl({"grant", "uid:" + std::to_string(uid), "1h", "--reason", std::string(490, 'r')}).code, 0);
  }
  static void overwrite(off_t at, const std::string& bytes) {
    const Fd file(::open(kDatabase, O_WRONLY | O_CLOEXEC));
    EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), at), static_cast<ssize_t>(bytes.size()));
  }
  static void overwrite_page_in_the_middle() {
    const auto pages = static_cast<off_t>(std::filesystem::file_size(kDatabase) / 4096);
    EXPECT_GT(pages, 10);
    overwrite(pages / 2 * 4096, std::string(4096, '\xa5'));
  }
  // The agent goes on without the store, refuses changes saying `part`, and leaves the file as it is.
  void expect_refused_whole(const std::string& part) {
    const auto before = read_text(kDatabase);
    agent().start_again();
    expect_store_fault(part);
    expect_store_error({"grant", "bob", "1h"}, part);
    expect_store_error({"revoke", "alice"}, part);
    expect_store_error({"mode", "disabled"}, part);
    EXPECT_NE(ctl({"request", "1h", "--reason", "paper"}, {.uid = kBob}).code, 0);
    EXPECT_EQ(open_as({.uid = kBob}), EACCES);
    EXPECT_EQ(agent().stop(), 0);
    EXPECT_EQ(read_text(kDatabase), before);
  }

  static void expect_in_force() {
    EXPECT_EQ(open_as({.uid = kAlice}), 0);
    EXPECT_EQ(open_as({.uid = 4000}), 0);
    EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  }

 private:
  Agent agent_;
};

struct CloseConnection {
  void operator()(sqlite3* connection) const { ::sqlite3_close(connection); }
};
using Connection = std::unique_ptr<sqlite3, CloseConnection>;

Connection connect() {
  sqlite3* connection = nullptr;
  EXPECT_EQ(::sqlite3_open(kDatabase, &connection), SQLITE_OK);
  return Connection(connection);
}

void execute(const Connection& connection, const char* sql) {
  EXPECT_EQ(::sqlite3_exec(connection.get(), sql, nullptr, nullptr, nullptr), SQLITE_OK)
      << ::sqlite3_errmsg(connection.get());
}

TEST_F(Store, Attack22LockedByAnotherProcess) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  const auto other = connect();
  execute(other, "BEGIN EXCLUSIVE");
  expect_store_error({"grant", "bob", "1h"}, "locked");
  expect_store_error({"revoke", "alice"}, "locked");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_EQ(ctl_json({"list"}).as_array().size(), 1U);
  expect_store_ok();
  execute(other, "COMMIT");
  EXPECT_EQ(ctl({"grant", "bob", "1h"}).code, 0);
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(Store, Attack22LockedAtTheStart) {
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  agent().stop();
  auto other = connect();
  execute(other, "BEGIN EXCLUSIVE");
  agent().start_again();
  expect_store_fault("locked");
  expect_store_error({"grant", "bob", "1h"}, "locked");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  other.reset();
  wait_until_granted("bob");
  expect_store_ok();
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

// Nobody knows then which mode was set by hand, so it is the strictest one.
TEST_F(Store, Attack22LockedAfterAReboot) {
  agent().reload(in_mode("monitoring"));
  EXPECT_EQ(ctl({"mode", "full"}).code, 0);
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  pretend_reboot(agent());
  auto other = connect();
  execute(other, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
  agent().start_again();
  expect_store_fault("locked");
  expect_store_fault("until then the mode is full");
  expect_store_error({"grant", "bob", "1h"}, "locked");
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  other.reset();
  eventually([] { return open_as({.uid = kAlice}) == 0; });
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  const auto mode = ctl_json({"mode"}).at("gpu");
  EXPECT_EQ(mode.at("mode").as_string(), "full");
  EXPECT_EQ(mode.at("configured_mode").as_string(), "monitoring");
  // The lock may have gone between a try to write and one to read: then the next one comes in some seconds.
  eventually([] { return ctl({"mode", "--default"}).code == 0; });
  expect_store_ok();
  EXPECT_EQ(open_as({.uid = kBob}), 0);
}

TEST_F(Store, Attack22EmptyFileKeepsWhatIsInForce) {
  fill_store();
  agent().stop();
  std::filesystem::resize_file(kDatabase, 0);
  expect_refused_whole("it is empty");
  expect_in_force();
}

TEST_F(Store, Attack22CorruptPageKeepsWhatIsInForce) {
  fill_store();
  agent().stop();
  overwrite_page_in_the_middle();
  expect_refused_whole("corrupt");
  expect_in_force();
  // As the message says: an empty store. Nobody vouches for what is in the kernel any more.
  for (const auto* part : {"", "-wal", "-shm"}) std::filesystem::remove(std::string(kDatabase) + part);
  agent().start_again();
  expect_store_ok();
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(open_as({.uid = 4000}), EACCES);
  const auto drift = agent().audit("drift");
  ASSERT_FALSE(drift.empty());
  expect_contains(std::string(drift.front().at("message").as_string()), "16 unknown");
  EXPECT_EQ(ctl({"grant", "alice", "1h"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

TEST_F(Store, Attack22CorruptHeaderKeepsWhatIsInForce) {
  fill_store();
  agent().stop();
  overwrite(0, std::string(100, '\x5a'));
  expect_refused_whole("corrupt");
  expect_in_force();
}

TEST_F(Store, Attack22CorruptStoreAfterAReboot) {
  const Cgroup container("/ds01.slice/container");
  fill_store();
  agent().stop();
  EXPECT_EQ(run_command({"ds01d", "--detach"}).code, 0);
  overwrite_page_in_the_middle();
  expect_refused_whole("corrupt");
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(open_as({.uid = 4000}), EACCES);
  EXPECT_EQ(open_as({.uid = kBob, .cgroup = container.path()}), 0);  // the rest of the policy needs no store
}

TEST_F(Store, Attack22CorruptStoreKeepsTheModeInForce) {
  agent().reload(in_mode("monitoring"));
  EXPECT_EQ(ctl({"mode", "full"}).code, 0);
  fill_store();
  agent().stop();
  overwrite_page_in_the_middle();
  expect_refused_whole("corrupt");
}

TEST_F(Store, Attack22CorruptStoreAfterARebootIsNoOpenGate) {
  agent().reload(in_mode("monitoring"));
  EXPECT_EQ(ctl({"mode", "full"}).code, 0);
  fill_store();
  pretend_reboot(agent());
  overwrite_page_in_the_middle();
  expect_refused_whole("corrupt");
  agent().start_again();  // on what the agent before has left, who did not know it either
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  agent().reload(in_mode("disabled"));  // who says so means it
  EXPECT_EQ(open_as({.uid = kBob}), 0);
  agent().reload(in_mode("monitoring"));
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
}

TEST_F(Store, Attack22NewerDatabaseIsRefused) {
  fill_store();
  agent().stop();
  execute(connect(), "PRAGMA user_version = 99");
  expect_refused_whole("newer version");
  expect_in_force();
  execute(connect(), "PRAGMA user_version = 1");
  agent().start_again();
  expect_store_ok();
  EXPECT_EQ(ctl_json({"list"}).as_array().size(), 16U);
  EXPECT_TRUE(agent().audit("drift").empty());
}

// ---- accounts ------------------------------------------------------------------------------------------------------

constexpr const char* kPasswd = "/etc/passwd";

class Accounts : public testing::Test {
 protected:
  void TearDown() override {
    if (agent_.pid() > 0) agent_.stop();
    rewrite(original_);
    forget_agents();
  }
  Agent& agent() { return agent_; }

  // As useradd(8) does it.
  static void rewrite(const std::string& text) {
    std::ofstream("/etc/passwd.new") << text;
    EXPECT_EQ(::rename("/etc/passwd.new", kPasswd), 0);
  }
  // alice's uid goes to eve.
  void reuse_uid() const {
    auto text = original_;
    const auto at = text.find("\nalice:");
    ASSERT_NE(at, std::string::npos);
    rewrite(text.replace(at, 7, "\neve:"));
  }
  void give_back() const { rewrite(original_); }
  void remove_account() const {
    auto text = original_;
    const auto at = text.find("\nalice:") + 1;
    rewrite(text.erase(at, text.find('\n', at) + 1 - at));
  }
  json::object wait_for(const std::string& kind, const std::string& id) const {
    return agent_.wait_for_audit(
        kind, [&](const json::object& line) { return line.at("unmapped").at("grant").as_string() == id; });
  }
  static void expect_suspended(const std::string& id) {
    EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
    EXPECT_EQ(ctl_json({"show", id}).at("state").as_string(), "suspended");
    EXPECT_EQ(ctl_json({"show", "alice"}).at("id").as_string(), id);  // still to be found by its name
    EXPECT_EQ(ctl_json({"status"}).at("grants_suspended").as_int64(), 1);
    EXPECT_EQ(ctl_json({"status"}).at("grants_active").as_int64(), 0);
    EXPECT_EQ(ctl({"extend", id, "1h"}).code, 1);
  }
  static void expect_active(const std::string& id) {
    EXPECT_EQ(open_as({.uid = kAlice}), 0);
    EXPECT_EQ(ctl_json({"show", "alice"}).at("id").as_string(), id);
    EXPECT_EQ(ctl_json({"show", id}).at("state").as_string(), "active");
  }

 private:
  std::string original_ = read_text(kPasswd);
  Agent agent_;
};

TEST_F(Accounts, Attack31ReusedUidSuspendsTheGrant) {
  const auto id = id_of(ctl_json({"grant", "alice", "1h"}));
  reuse_uid();
  const auto line = wait_for("suspend", id);
  expect_contains(std::string(line.at("message").as_string()), "uid 1000 is eve now");
  expect_suspended(id);
  EXPECT_EQ(ctl_json({"whoami"}, {.uid = kAlice}).at("access").as_string(), "denied");
  give_back();
  wait_for("resume", id);
  expect_active(id);
}

TEST_F(Accounts, Attack31DeletedAccountSuspendsTheGrant) {
  const auto id = id_of(ctl_json({"grant", "alice", "permanent"}));
  remove_account();
  wait_for("suspend", id);
  expect_suspended(id);
  EXPECT_EQ(ctl({"revoke", "alice"}).code, 0);
  give_back();
  EXPECT_EQ(ctl({"show", "alice"}).code, 4);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(Accounts, Attack31ReusedUidWhileTheAgentIsDead) {
  const auto id = id_of(ctl_json({"grant", "alice", "1h"}));
  agent().kill();
  reuse_uid();
  agent().start_again();
  expect_suspended(id);
  wait_for("suspend", id);
  agent().kill();
  give_back();
  agent().start_again();
  expect_active(id);
  wait_for("resume", id);
  EXPECT_TRUE(agent().audit("drift").empty());
}

TEST_F(Accounts, Attack31SuspensionSurvivesARestart) {
  const auto id = id_of(ctl_json({"grant", "alice", "1h"}));
  reuse_uid();
  wait_for("suspend", id);
  agent().kill();
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  agent().start_again();
  expect_suspended(id);
  EXPECT_EQ(agent().audit("suspend").size(), 1U);
}

TEST_F(Accounts, Attack31GrantToTheNewAccountEndsTheOldOne) {
  const auto old = id_of(ctl_json({"grant", "alice", "2h"}));
  reuse_uid();
  wait_for("suspend", old);
  const auto fresh = ctl_json({"grant", "eve", "1h"});
  EXPECT_NE(id_of(fresh), old);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(ctl_json({"show", old}).at("state").as_string(), "revoked");
  wait_for("revoke", old);
  give_back();  // alice does not get eve's
  wait_for("suspend", id_of(fresh));
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

}  // namespace
}  // namespace ds01::test
