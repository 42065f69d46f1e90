// SPDX-License-Identifier: Apache-2.0
// Users ask, admins or a rule answer, and the person concerned is told: on their terminals, or when they look next.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utmp.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "harness.h"

namespace ds01::test {
namespace {

constexpr const char* kUtmp = "/run/utmp";
constexpr const char* kGroups = "/etc/group";
constexpr uid_t kNoAccount = 3001;

std::string config(const std::string& grants = "{}", const std::string& notices = "{}") {
  return "version: 1\nmode: full\naudit: {limit: 100000, journald: false, json: /tmp/audit.jsonl}\ngrants: " + grants +
         "\nnotices: " + notices + "\n";
}

std::string text(const json::value& object, const char* key) { return std::string(object.at(key).as_string()); }

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

// Ends with this exit code and a message that contains `part`.
void expect_refused(const std::vector<std::string>& arguments, int code, const std::string& part, const As& as = {}) {
  const auto outcome = ctl(arguments, as);
  EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
  expect_contains(outcome.err, part);
}

// alice asks; the request's id.
std::string ask(const std::string& duration, const std::string& reason = "paper") {
  return text(ctl_json({"request", duration, "--reason", reason}, {.uid = kAlice}), "id");
}

std::size_t pending() { return ctl_json({"requests"}).as_array().size(); }

// The request as the list of all has it.
json::value request(const std::string& id) {
  const auto all = ctl_json({"requests", "--all"});
  for (const auto& row : all.as_array())
    if (row.at("id").as_string() == id) return row;
  ADD_FAILURE() << "no " << id;
  return {};
}

std::string read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void append(const char* file, const std::string& data) {
  std::ofstream(file, std::ios::app | std::ios::binary).write(data.data(), static_cast<std::streamsize>(data.size()));
}

class SelfService : public testing::Test {
 protected:
  void TearDown() override {
    forget_agents();
    ::unlink(kUtmp);
  }
};

TEST_F(SelfService, ApprovedRequestIsAGrant) {
  const Agent agent(config());
  const auto asked = ctl_json({"request", "2h", "--reason", "paper", "--gpus", "0"}, {.uid = kAlice});
  EXPECT_EQ(text(asked, "state"), "pending");
  EXPECT_EQ(asked.at("duration_s").as_int64(), 7200);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(ctl_json({"requests"}).at(0).at("user").at("name").as_string(), "alice");
  EXPECT_EQ(ctl_json({"status"}).at("requests_pending").as_int64(), 1);
  expect_contains(ctl({"status"}).out, "1 request waits");
  const auto id = text(asked, "id");
  const auto approved = ctl_json({"approve", id}, {.uid = kCarol});
  EXPECT_EQ(text(approved, "state"), "approved");
  EXPECT_EQ(text(approved.at("grant"), "reason"), "paper");
  EXPECT_EQ(text(approved.at("grant").at("granted_by"), "name"), "carol");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(open_as({.uid = kAlice}, kGpu1), EACCES);
  EXPECT_EQ(pending(), 0U);
  EXPECT_EQ(ctl_json({"status"}).at("requests_pending").as_int64(), 0);
  expect_refused({"approve", id}, 1, "already approved");
  expect_refused({"deny", id, "--reason", "late"}, 1, "already approved");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  for (const auto* kind : {"request", "answer", "grant"}) EXPECT_EQ(agent.audit(kind).size(), 1U) << kind;
}

TEST_F(SelfService, ApprovedForAnotherTime) {
  const Agent agent(config());
  const auto grant = ctl_json({"approve", ask("2h"), "30m"}).at("grant");
  EXPECT_GT(grant.at("remaining_s").as_int64(), 1700);
  EXPECT_LE(grant.at("remaining_s").as_int64(), 1800);
  expect_refused({"approve", ask("3h"), "8d"}, 2, "maximum of 7d");
  EXPECT_EQ(pending(), 1U);  // still to be answered
}

TEST_F(SelfService, DeniedWithAReason) {
  const Agent agent(config());
  const auto id = ask("2h");
  EXPECT_EQ(ctl({"deny", id}).code, 2);
  EXPECT_EQ(ctl({"deny", id, "--reason", "use a container"}, {.uid = kCarol}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(pending(), 0U);
  const auto denied = request(id);
  EXPECT_EQ(text(denied, "state"), "denied");
  EXPECT_EQ(text(denied, "answer"), "use a container");
  EXPECT_EQ(text(denied.at("decided_by"), "name"), "carol");
  expect_refused({"approve", id}, 1, "already denied");
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(SelfService, UsersCannotAnswer) {
  const Agent agent(config());
  const auto id = ask("2h");
  expect_refused({"approve", id}, 1, "admin", {.uid = kAlice});
  expect_refused({"deny", id, "--reason", "no"}, 1, "admin", {.uid = kBob});
  EXPECT_EQ(pending(), 1U);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
}

TEST_F(SelfService, RequestsSurviveKillAndRestart) {
  Agent agent(config());
  const auto id = ask("2h");
  agent.kill();
  agent.start_again();
  EXPECT_EQ(pending(), 1U);
  EXPECT_EQ(text(request(id), "reason"), "paper");
  agent.kill();
  agent.start_again();
  EXPECT_EQ(ctl({"approve", id}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  agent.kill();
  agent.start_again();
  expect_refused({"approve", id}, 1, "already approved");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

// A group that only this suite has.
class AutoApproval : public SelfService {
 protected:
  void SetUp() override { append(kGroups, "staff:x:992:alice\n"); }
  void TearDown() override {
    std::ofstream(kGroups) << original_;
    SelfService::TearDown();
  }

 private:
  std::string original_ = read_text(kGroups);
};

TEST_F(AutoApproval, OfTheGroupUpToItsLimit) {
  const Agent agent(config("{auto_approve: [{group: staff, up_to: 1h}]}"));
  const auto approved = ctl_json({"request", "1h", "--reason", "paper"}, {.uid = kAlice});
  EXPECT_EQ(text(approved, "state"), "approved");
  EXPECT_TRUE(approved.at("decided_by").is_null());
  EXPECT_EQ(text(approved.at("grant").at("granted_by"), "name"), "auto-approval (staff)");
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
  EXPECT_EQ(pending(), 0U);
  EXPECT_EQ(text(ctl_json({"request", "2h", "--reason", "more"}, {.uid = kAlice}), "state"), "pending");
  EXPECT_EQ(text(ctl_json({"request", "1h", "--reason", "me too"}, {.uid = kBob}), "state"), "pending");
  EXPECT_EQ(open_as({.uid = kBob}), EACCES);
  EXPECT_LE(ctl_json({"show", "alice"}).at("remaining_s").as_int64(), 3600);
}

TEST_F(SelfService, PendingRequestsAreLimitedPerUser) {
  const Agent agent(config("{max_pending_per_user: 2}"));
  const auto first = ask("1h");
  ask("2h");
  expect_refused({"request", "3h", "--reason", "x"}, 1, "max_pending_per_user", {.uid = kAlice});
  EXPECT_EQ(ctl({"request", "1h", "--reason", "x"}, {.uid = kBob}).code, 0);
  EXPECT_EQ(ctl({"deny", first, "--reason", "twice"}).code, 0);
  EXPECT_EQ(ctl({"request", "3h", "--reason", "x"}, {.uid = kAlice}).code, 0);
  EXPECT_EQ(pending(), 3U);
}

TEST_F(SelfService, UnansweredRequestLapses) {
  const Agent agent(config("{request_ttl: 1s}"));
  const auto id = ask("2h");
  eventually([] { return pending() == 0; });
  EXPECT_EQ(text(request(id), "state"), "lapsed");
  EXPECT_TRUE(request(id).at("decided_by").is_null());
  expect_refused({"approve", id}, 1, "already lapsed");
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  expect_contains(ctl({"whoami"}, {.uid = kAlice}).out, "your request " + id + " has lapsed");
}

TEST_F(SelfService, RequestsAreCheckedLikeGrants) {
  const Agent agent(config());
  expect_refused({"request", "8d", "--reason", "x"}, 2, "maximum of 7d", {.uid = kAlice});
  expect_refused({"request", "1h", "--reason", "x", "--gpus", "9"}, 2, "no GPU 9", {.uid = kAlice});
  expect_refused({"request", "1h"}, 2, "--reason", {.uid = kAlice});
  expect_refused({"request", "1h", "--reason", ""}, 2, "reason", {.uid = kAlice});
  expect_refused({"request", "1h", "--reason", "x"}, 2, "no account", {.uid = kNoAccount});
  expect_refused({"request", "1h", "--reason", "x"}, 2, "root needs no grant");
  expect_refused({"approve", "r-7"}, 4, "r-7");
  EXPECT_EQ(pending(), 0U);
}

TEST_F(SelfService, ContainersCannotAsk) {
  const Agent agent(config("{auto_approve: [{group: alice, up_to: 1h}]}"));
  expect_refused({"request", "1h", "--reason", "x"}, 1, "not in a container", {.uid = kAlice, .pid_namespace = true});
  expect_refused({"request", "1h", "--reason", "x"}, 1, "not in a container", {.uid = kAlice, .user_namespace = true});
  EXPECT_TRUE(ctl_json({"requests", "--all"}).as_array().empty());
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(ctl({"request", "1h", "--reason", "x"}, {.uid = kAlice}).code, 0);  // the same on the host
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

TEST_F(SelfService, OthersSeeNothing) {
  const Agent agent(config());
  const auto id = ask("1h");
  const As bob{.uid = kBob};
  EXPECT_EQ(ctl_json({"requests"}, {.uid = kAlice}).as_array().size(), 1U);
  EXPECT_TRUE(ctl_json({"requests"}, bob).as_array().empty());
  EXPECT_TRUE(ctl_json({"requests", "--all"}, bob).as_array().empty());
  EXPECT_EQ(ctl_json({"status"}, bob).at("requests_pending").as_int64(), 0);
  const auto grant = text(ctl_json({"approve", id}).at("grant"), "id");
  EXPECT_EQ(ctl({"show", grant}, bob).code, 4);
  EXPECT_TRUE(ctl_json({"list"}, bob).as_array().empty());
  EXPECT_EQ(ctl({"revoke", grant}).code, 0);
  EXPECT_EQ(ctl_json({"history"}, {.uid = kAlice}).as_array().size(), 1U);
  EXPECT_TRUE(ctl_json({"history"}, bob).as_array().empty());
  EXPECT_TRUE(ctl_json({"list", "--all"}, bob).as_array().empty());
  expect_refused({"history", "--user", "alice"}, 1, "only admins", bob);
  EXPECT_EQ(ctl({"whoami", "--notices"}, bob).out, "");
}

// ---- what admins change
// ----------------------------------------------------------------------------------------------

TEST_F(SelfService, ExtendMovesTheEndWithinTheMaximum) {
  const Agent agent(config("{default: 1h, maximum: 3h}"));
  const auto id = text(ctl_json({"grant", "alice", "1h"}), "id");
  const auto extended = ctl_json({"extend", "alice", "90m"});
  EXPECT_EQ(text(extended, "id"), id);
  EXPECT_GT(extended.at("remaining_s").as_int64(), 8900);
  EXPECT_LE(extended.at("remaining_s").as_int64(), 9000);
  expect_refused({"extend", id, "31m"}, 2, "maximum of 3h (grants.maximum in agent.yaml)");
  EXPECT_EQ(ctl_json({"show", id}).at("expires_at"), extended.at("expires_at"));
  expect_refused({"extend", "alice", "1h"}, 1, "admin", {.uid = kAlice});
  EXPECT_EQ(ctl({"extend", "bob", "1h"}).code, 4);
  EXPECT_EQ(agent.audit("extend").size(), 1U);
}

TEST_F(SelfService, PermanentHasNoEndToMove) {
  Agent agent(config());
  const auto id = text(ctl_json({"grant", "alice", "permanent"}), "id");
  expect_refused({"extend", id, "1h"}, 1, "permanent");
  expect_refused({"grant", "alice", "1h"}, 1, "revoke it first");
  expect_refused({"request", "1h", "--reason", "x"}, 1, "you already have " + id, {.uid = kAlice});
  agent.kill();
  agent.start_again();
  EXPECT_TRUE(ctl_json({"show", id}).at("expires_at").is_null());
  EXPECT_EQ(open_as({.uid = kAlice}), 0);
}

TEST_F(SelfService, ReasonsMayBeRequired) {
  const Agent agent(config("{require_reason: true}"));
  expect_refused({"grant", "alice", "1h"}, 2, "--reason");
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  EXPECT_EQ(ctl({"grant", "alice", "1h", "--reason", "paper"}).code, 0);
}

TEST_F(SelfService, DryRunShowsAndChangesNothing) {
  const Agent agent(config());
  const auto left = ctl_json({"grant", "alice", "1h", "--dry-run"}).at("remaining_s").as_int64();
  EXPECT_GT(left, 3500);
  EXPECT_LE(left, 3600);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  const auto id = text(ctl_json({"grant", "alice", "1h"}), "id");
  EXPECT_EQ(text(ctl_json({"grant", "alice", "2h", "--dry-run"}), "id"), id);
  EXPECT_LE(ctl_json({"show", id}).at("remaining_s").as_int64(), 3600);
  EXPECT_EQ(agent.audit("grant").size(), 1U);
}

TEST_F(SelfService, HistoryShowsWhoWhyAndHowItEnded) {
  const Agent agent(config());
  const auto revoked = text(ctl_json({"grant", "alice", "1h", "--reason", "paper"}, {.uid = kCarol}), "id");
  EXPECT_EQ(ctl({"revoke", revoked, "--reason", "maintenance"}).code, 0);
  EXPECT_EQ(open_as({.uid = kAlice}), EACCES);
  expect_refused({"revoke", revoked}, 1, "already revoked");
  const auto expired = text(ctl_json({"grant", "alice", "1s"}), "id");
  eventually([] { return ctl_json({"history"}).as_array().size() == 2; });
  const auto rows = ctl_json({"history", "--user", "alice"});
  EXPECT_EQ(text(rows.at(0), "id"), expired);  // the one that ended last comes first
  EXPECT_EQ(text(rows.at(0), "how"), "expired");
  EXPECT_TRUE(rows.at(0).at("ended_by").is_null());
  EXPECT_EQ(rows.at(0).at("lasted_s").as_int64(), 1);
  EXPECT_EQ(text(rows.at(1), "how"), "revoked");
  EXPECT_EQ(text(rows.at(1), "reason"), "paper");
  EXPECT_EQ(text(rows.at(1), "end_reason"), "maintenance");
  EXPECT_EQ(text(rows.at(1).at("granted_by"), "name"), "carol");
  EXPECT_EQ(text(rows.at(1).at("ended_by"), "name"), "root");
  expect_contains(ctl({"history"}).out, "revoked by root: maintenance");
}

// ---- notices
// ---------------------------------------------------------------------------------------------------------

// A terminal on which `user` is logged in.
class Terminal {
 public:
  Terminal(const char* user, uid_t owner, mode_t mode = 0620)
      : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)) {
    EXPECT_TRUE(::grantpt(master_.get()) == 0 && ::unlockpt(master_.get()) == 0);
    const std::string name = ::ptsname(master_.get());
    slave_.reset(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(::fchown(slave_.get(), owner, 5) == 0 && ::fchmod(slave_.get(), mode) == 0);
    utmp record = {};
    record.ut_type = USER_PROCESS;
    std::strncpy(record.ut_user, user, sizeof record.ut_user - 1);
    std::strncpy(record.ut_line, name.c_str() + std::strlen("/dev/"), sizeof record.ut_line - 1);
    append(kUtmp, {reinterpret_cast<const char*>(&record), sizeof record});
  }

  // Waits for this text, and takes off what came until then.
  void expect(const std::string& part) {
    while (text_.find(part) == std::string::npos) {
      pollfd ready{master_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 30'000) != 1) break;
      take();
    }
    expect_contains(text_, part);
    if (const auto at = text_.find(part); at != std::string::npos) text_.erase(0, at + part.size());
  }
  // What is there and was not expected.
  std::string rest() {
    take();
    return text_;
  }

 private:
  void take() {
    char buffer[4096];
    for (ssize_t n; (n = ::read(master_.get(), buffer, sizeof buffer)) > 0;)
      text_.append(buffer, static_cast<std::size_t>(n));
  }

  Fd master_;
  Fd slave_;
  std::string text_;
};

using Notices = SelfService;

TEST_F(Notices, ComeToThePersonsTerminalOnly) {
  const Agent agent(config("{}", "{before_end: [18s]}"));
  Terminal alice("alice", kAlice);
  Terminal again("alice", kAlice);  // a second window
  Terminal bob("bob", kBob);
  const auto denied = ask("1h");
  EXPECT_EQ(ctl({"deny", denied, "--reason", "later"}).code, 0);
  const auto approved = ask("20s");
  const auto grant = text(ctl_json({"approve", approved}).at("grant"), "id");
  for (auto* terminal : {&alice, &again}) {
    terminal->expect("your request " + denied + " was denied by root: later");
    terminal->expect("your request " + approved + " was approved by root");
    terminal->expect("your GPU access (" + grant + ") ends in ");
    terminal->expect("your GPU access (" + grant + ") has ended");
    EXPECT_EQ(terminal->rest().find("ds01: "), std::string::npos);
  }
  EXPECT_EQ(bob.rest(), "");
  for (const auto uid : {kAlice, kBob}) EXPECT_EQ(ctl({"whoami", "--notices"}, {.uid = uid}).out, "");
  EXPECT_EQ(agent.audit("notice").size(), 4U);
}

TEST_F(Notices, TellOfARevocation) {
  const Agent agent(config());
  Terminal alice("alice", kAlice);
  const auto grant = text(ctl_json({"grant", "alice", "1h"}), "id");
  EXPECT_EQ(ctl({"revoke", grant, "--reason", "maintenance"}).code, 0);
  alice.expect("(" + grant + ") was revoked by root: maintenance");
}

// Whatever utmp says, the terminal has to be the person's, and take messages.
TEST_F(Notices, NeverComeToTerminalsOfOthers) {
  const Agent agent(config());
  Terminal of_bob("alice", kBob);
  Terminal silent("alice", kAlice, 0600);
  EXPECT_EQ(ctl({"deny", ask("1h"), "--reason", "later"}).code, 0);
  EXPECT_EQ(of_bob.rest(), "");
  EXPECT_EQ(silent.rest(), "");
  expect_contains(ctl({"whoami", "--notices"}, {.uid = kAlice}).out, "was denied by root: later");
}

TEST_F(Notices, ReasonsCannotDriveATerminal) {
  const Agent agent(config());
  Terminal alice("alice", kAlice);
  const auto id = ask("1h");
  for (const char* reason : {"\u009b2J", "\u202e", "\x1b[2J"}) {
    const auto refused = ctl({"deny", id, "--reason", reason});
    EXPECT_EQ(refused.code, 2);
    expect_contains(refused.err, "control characters");
  }
  EXPECT_EQ(alice.rest(), "");
}

TEST_F(Notices, AreKeptForWhoIsAway) {
  Agent agent(config());
  const auto id = ask("1h");
  EXPECT_EQ(ctl({"deny", id, "--reason", "later"}).code, 0);
  agent.kill();
  agent.start_again();
  const auto notice = "your request " + id + " was denied by root: later";
  EXPECT_EQ(ctl_json({"whoami"}, {.uid = kAlice}).at("notices").as_array().size(), 1U);  // programs are no readers
  EXPECT_TRUE(ctl_json({"whoami"}, {.uid = kBob}).at("notices").as_array().empty());
  EXPECT_TRUE(ctl_json({"whoami"}, {.uid = kAlice, .pid_namespace = true}).at("notices").as_array().empty());
  const auto first = ctl({"whoami"}, {.uid = kAlice}).out;
  expect_contains(first, "alice (uid 1000)");
  expect_contains(first, notice);
  EXPECT_EQ(ctl({"whoami"}, {.uid = kAlice}).out.find(notice), std::string::npos);
  EXPECT_EQ(ctl({"deny", ask("1h"), "--reason", "again"}).code, 0);
  const auto only = ctl({"whoami", "--notices"}, {.uid = kAlice}).out;
  expect_contains(only, "denied by root: again");
  EXPECT_EQ(only.find("alice (uid"), std::string::npos);
  EXPECT_EQ(ctl({"whoami", "--notices"}, {.uid = kAlice}).out, "");
}

TEST_F(Notices, LoginGoesOnWithoutAnAgent) {
  {
    const Agent agent(config());
  }
  const auto outcome = ctl({"whoami", "--notices"}, {.uid = kAlice});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out + outcome.err, "");
}

}  // namespace
}  // namespace ds01::test
