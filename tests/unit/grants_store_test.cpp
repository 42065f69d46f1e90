// SPDX-License-Identifier: Apache-2.0
// Grants on disk: what survives a restart and a reboot, and that neither store nor kernel changes without the other.
#include "database/schema.h"
#include "grants_fixture.h"

namespace ds01::grants {
namespace {

using fake::code;
using fake::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using StoreTest = ServiceTest;

void expect_same(const Grant& a, const Grant& b) {
  EXPECT_EQ(a.id(), b.id());
  EXPECT_EQ(a.subject.display(), b.subject.display());
  EXPECT_EQ(a.subject.kind, b.subject.kind);
  EXPECT_EQ(a.subject.uid, b.subject.uid);
  EXPECT_EQ(a.subject.cgroup_id, b.subject.cgroup_id);
  EXPECT_EQ(a.subject.cgroup_depth, b.subject.cgroup_depth);
  EXPECT_EQ(a.scope(), b.scope());
  EXPECT_EQ(a.caps, b.caps);
  EXPECT_EQ(a.created, b.created);
  EXPECT_EQ(a.end, b.end);
  EXPECT_EQ(a.term, b.term);
  EXPECT_EQ(a.warned, b.warned);
  EXPECT_EQ(a.on_expiry, b.on_expiry);
  EXPECT_EQ(a.granted_by.uid, b.granted_by.uid);
  EXPECT_EQ(a.granted_by.name, b.granted_by.name);
  EXPECT_EQ(a.granted_by.login_uid, b.granted_by.login_uid);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.state, b.state);
}

TEST_F(StoreTest, EverythingSurvivesARestart) {
  root_.make("a.slice/job");
  auto asked = request("alice", 90min, "1,GPU-aaaa");
  asked.reason = "für die Messung; DROP TABLE grants; --'\"";
  asked.on_expiry = config::OnExpiry::soft;
  asked.caps = "nvidia-cap30,imex-channel0";
  std::vector<Grant> grants{*grant(asked)};
  grants.push_back(granted("bob", clock_.wall() + 2h));
  grants.push_back(granted("uid:4242", Permanent{}));
  grants.push_back(granted("cgroup:/a.slice/job", 1h));
  const auto kernel = kernel_.map.size();
  ASSERT_TRUE(restart().loaded);
  EXPECT_THAT(service().list(false, std::nullopt, 10, 0)->grants.size(), grants.size());
  for (const auto& before : grants) expect_same(*service().find(before.id()), before);
  EXPECT_EQ(service().find("g-1")->gpus->at(1).uuid, "GPU-bbbb");
  EXPECT_EQ(kernel_.map.size(), kernel);
  EXPECT_FALSE(service().sync()->any());
  EXPECT_EQ(service().next_due(), clock_.boot() + 30min);  // alice's warning
}

TEST_F(StoreTest, CapsChangeWithTheGrant) {
  auto asked = request("alice");
  asked.caps = "nvidia-cap30";
  ASSERT_TRUE(grant(asked));
  asked.caps = "nvidia-cap31,nvidia-cap30";
  ASSERT_TRUE(grant(asked));
  EXPECT_THAT(stored()[0].caps, ElementsAre("nvidia-cap30", "nvidia-cap31"));
  ASSERT_TRUE(grant("alice"));
  EXPECT_THAT(stored()[0].caps, IsEmpty());
}

// The first version's grants named no capability nodes.
TEST_F(StoreTest, FileOfTheFirstVersionIsReadOn) {
  agent_.reset();
  std::filesystem::remove_all(folder_.path());
  {
    database::Database first(file_, database::schema().first(1));
    ASSERT_TRUE(
        first.run("INSERT INTO grants (uid, name, created, boot_id, term, on_expiry, granted_by_uid, "
                  "granted_by_name, reason, state, end_reason) "
                  "VALUES (1000, 'alice', 1, '', 0, 'soft', 0, 'root', 'thesis', 'active', '')",
                  {}));
  }
  ASSERT_TRUE(restart().loaded);
  const auto kept = service().find("g-1");
  ASSERT_TRUE(kept) << message(kept);
  EXPECT_EQ(kept->subject.name, "alice");
  EXPECT_EQ(kept->reason, "thesis");
  EXPECT_EQ(kept->scope(), "all GPUs");
  EXPECT_THAT(kept->caps, IsEmpty());
  EXPECT_EQ(granted("alice", Permanent{}).id(), "g-1");
}

TEST_F(StoreTest, EndedOnesSurviveARestart) {
  granted("alice");
  clock_.advance(1min);
  ASSERT_TRUE(service().revoke("alice", {1002, "carol", 1002}, "left the group"));
  restart();
  const auto grant = service().find("g-1");
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->state, State::revoked);
  EXPECT_EQ(grant->ended, clock_.wall());
  ASSERT_TRUE(grant->ended_by);
  EXPECT_EQ(grant->ended_by->name, "carol");
  EXPECT_EQ(grant->ended_by->login_uid, 1002U);
  EXPECT_EQ(grant->end_reason, "left the group");
  EXPECT_EQ(code(revoke("g-1")), ErrorCode::conflict);
}

TEST_F(StoreTest, NumberIsNeverUsedAgain) {
  granted("alice");
  granted("bob");
  ASSERT_TRUE(revoke("bob"));
  clock_.advance(24h * 401);
  ASSERT_TRUE(service().expire(10));
  clock_.advance(24h * 401);
  ASSERT_TRUE(agent_->store.forget_old());
  restart();
  auto asked = request("alice");
  asked.dry_run = true;
  EXPECT_EQ(grant(asked)->id(), "g-3");
  EXPECT_EQ(granted("alice").id(), "g-3");
}

TEST_F(StoreTest, ForgettingTakesWhatEndedLongAgoOnly) {
  granted("alice", 1h);
  granted("bob", Permanent{});
  granted("carol", Permanent{});
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  clock_.advance(24h);
  ASSERT_TRUE(revoke("carol"));
  clock_.advance(24h * 399);
  ASSERT_TRUE(agent_->store.forget_old());
  EXPECT_TRUE(service().find("g-1"));
  clock_.advance(1h);
  ASSERT_TRUE(agent_->store.forget_old());
  EXPECT_EQ(code(service().find("g-1")), ErrorCode::not_found);
  EXPECT_TRUE(service().find("g-2"));
  EXPECT_TRUE(service().find("g-3"));
}

// ---- reboot and clocks

TEST_F(StoreTest, RebootLetsTheAbsoluteEndCount) {
  const auto end = clock_.wall() + 2h;
  granted("alice", 2h);
  granted("bob", clock_.wall() + 2h);
  granted("carol", Permanent{});
  clock_.advance(30min);
  reboot(10min);
  EXPECT_EQ(service().sync()->missing, 3U);
  EXPECT_EQ(service().find("alice")->end, End(end));
  EXPECT_EQ(service().find("bob")->end, End(end));
  EXPECT_EQ(service().find("carol")->end, End(Never{}));
  EXPECT_EQ(in_kernel(1000)->value.clock, std::uint32_t{DS01_WALL_CLOCK});
  EXPECT_EQ(in_kernel(1000)->value.ends, static_cast<std::uint64_t>(end.time_since_epoch().count()));
  clock_.advance(80min - 10s - 1ns);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
  clock_.advance(1ns);
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1", "g-2"));
}

TEST_F(StoreTest, WhatEndedWhileTheMachineWasOffIsLeftForExpire) {
  const auto end = clock_.wall() + 1h;
  granted("alice", 1h);
  granted("bob", 5h);
  reboot(2h);
  EXPECT_EQ(service().sync()->missing, 1U);
  EXPECT_EQ(in_kernel(1000), nullptr);
  EXPECT_THAT(ids(service().warn(10)), IsEmpty());
  const auto expired = service().expire(10);
  ASSERT_THAT(ids(expired), ElementsAre("g-1"));
  EXPECT_EQ(expired->at(0).ended, end);
  EXPECT_EQ(service().active_count(), 1U);
}

TEST_F(StoreTest, DurationStaysExactAcrossARestartWhateverTheWallClockDoes) {
  const auto end = clock_.boot() + 2h;
  granted("alice", 2h);
  clock_.step_wall(-24h);
  restart();
  EXPECT_EQ(service().find("alice")->end, End(end));
}

// The absolute end on disk was right by a clock that was wrong.
TEST_F(StoreTest, ClockStepMovesTheAbsoluteEndOfDurations) {
  granted("alice", 2h);
  const auto until = clock_.wall() + 3h;
  granted("bob", until);
  clock_.step_wall(24h);
  ASSERT_TRUE(service().clock_changed());
  const auto end = clock_.wall() + 2h;
  reboot(1min);
  EXPECT_EQ(service().find("alice")->end, End(end));
  EXPECT_EQ(service().find("bob")->end, End(until));
}

TEST_F(StoreTest, ClockStepWhileNobodyLookedIsFoundAtStart) {
  granted("alice", 2h);
  clock_.step_wall(-24h);
  restart();
  const auto end = clock_.wall() + 2h;
  reboot(1min);
  EXPECT_EQ(service().find("alice")->end, End(end));
}

TEST_F(StoreTest, ClockStepDoesNotTouchOtherBoots) {
  const auto end = clock_.wall() + 2h;
  granted("alice", 2h);
  reboot(1min);
  clock_.step_wall(5min);
  ASSERT_TRUE(service().clock_changed());
  restart();
  EXPECT_EQ(service().find("alice")->end, End(end));
}

TEST_F(StoreTest, UntilFollowsTheWallClock) {
  granted("alice", clock_.wall() + 48h);
  clock_.step_wall(-24h);
  clock_.advance(49h);
  EXPECT_THAT(ids(service().expire(10)), IsEmpty());
  clock_.step_wall(24h);
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
}

// ---- neither without the other

TEST_F(StoreTest, StoreFailsNothingReachesTheKernel) {
  granted("alice", 1h);
  const auto before = *in_kernel(1000);
  break_store();
  const auto refused = grant("bob");
  EXPECT_EQ(code(refused), ErrorCode::system);
  EXPECT_THAT(message(refused), HasSubstr(file_.string()));
  EXPECT_EQ(code(grant("alice", 3h, "0")), ErrorCode::system);
  EXPECT_EQ(code(service().extend("alice", 1h)), ErrorCode::system);
  EXPECT_EQ(code(revoke("alice")), ErrorCode::system);
  EXPECT_EQ(in_kernel(1001), nullptr);
  EXPECT_EQ(in_kernel(1000)->value.ends, before.value.ends);
  EXPECT_EQ(service().find("alice")->end, End(clock_.boot() + 1h));
  clock_.advance(1h);
  EXPECT_EQ(code(service().expire(10)), ErrorCode::system);
  EXPECT_EQ(stored().at(0).state, State::active);  // to be tried again; the kernel denies it since its end
  mend_store();
  EXPECT_THAT(ids(service().expire(10)), ElementsAre("g-1"));
}

TEST_F(StoreTest, FullDiskRefusesAGrant) {
  ASSERT_TRUE(agent_->database.run("PRAGMA max_page_count = 1", {}));
  Result<Grant> last;
  for (int uid = 1; uid < 500 && last; ++uid) {
    auto asked = request("uid:" + std::to_string(uid));
    asked.reason = std::string(500, 'x');
    last = grant(asked);
  }
  EXPECT_EQ(code(last), ErrorCode::system);
  EXPECT_THAT(message(last), HasSubstr("the disk is full: free some space"));
  EXPECT_EQ(stored().size(), kernel_.map.size());
  EXPECT_EQ(service().active_count(), kernel_.map.size());
}

// The store cannot be put back: then it is what counts, and the error says so.
TEST_F(StoreTest, BothFailIsSaidAsItIs) {
  granted("alice", 1h);
  kernel_.broken = true;
  const Along along{{}, [this] {
                      break_store();
                      return agent_->store.remove_grant(99);
                    }};
  const auto result = service().grant(request("alice", 2h), actor_, along);
  EXPECT_EQ(code(result), ErrorCode::system);
  EXPECT_THAT(message(result), HasSubstr("grant map is full; it stays in the store"));
  EXPECT_EQ(service().find("alice")->end, stored().at(0).end);
  EXPECT_EQ(service().find("alice")->end, End(clock_.boot() + 2h));
}

TEST_F(StoreTest, WhatIsStoredAlongIsThereWithTheGrantOrNotAtAll) {
  std::string seen;
  Along along{[&](const Grant& grant) {
                seen += grant.id() + " ";
                return agent_->database.run("INSERT INTO facts VALUES (?, '')", {grant.id()});
              },
              [&] {
                seen += "undone ";
                return agent_->database.run("DELETE FROM facts", {});
              }};
  const auto facts = [&] {
    std::int64_t count = 0;
    EXPECT_TRUE(
        agent_->database.run("SELECT count(*) FROM facts", {}, [&](const auto& row) { count = row.integer(0); }));
    return count;
  };
  ASSERT_TRUE(service().grant(request("alice"), actor_, along));
  EXPECT_EQ(facts(), 1);
  kernel_.broken = true;
  EXPECT_FALSE(service().grant(request("bob"), actor_, along));
  EXPECT_EQ(facts(), 0);
  kernel_.broken = false;
  EXPECT_EQ(seen, "g-1 g-2 undone ");
  along.store = [](const Grant&) { return Status(fail(ErrorCode::conflict, "no")); };
  EXPECT_EQ(code(service().grant(request("bob"), actor_, along)), ErrorCode::conflict);
  EXPECT_EQ(in_kernel(1001), nullptr);
  EXPECT_EQ(stored().size(), 1U);
}

TEST_F(StoreTest, FaultIsTheAnswerToEverything) {
  granted("alice", 1h);
  agent_.reset();
  {
    std::ofstream(file_, std::ios::binary) << std::string(5000, 'x');
  }
  restart();
  const auto before = kernel_.map.size();
  EXPECT_THAT(message(agent_->loaded), HasSubstr("is corrupt"));
  EXPECT_THAT(message(service().sync()), HasSubstr("is corrupt"));
  EXPECT_THAT(message(grant("bob")), HasSubstr("is corrupt"));
  EXPECT_THAT(message(revoke("alice")), HasSubstr("is corrupt"));
  EXPECT_THAT(message(service().find("g-1")), HasSubstr("is corrupt"));
  EXPECT_THAT(message(service().list(true, std::nullopt, 10, 0)), HasSubstr("is corrupt"));
  EXPECT_THAT(message(service().history(std::nullopt, std::nullopt, 10, 0)), HasSubstr("is corrupt"));
  EXPECT_THAT(message(requests().ask({1h, "all", "why"}, {1001, "bob", {}})), HasSubstr("is corrupt"));
  EXPECT_THAT(service().list(false, std::nullopt, 10, 0)->grants, IsEmpty());
  EXPECT_EQ(kernel_.map.size(), before);
}

// A load that failed for the moment leaves nothing that could be taken for an empty store.
TEST_F(StoreTest, LoadThatFailedAllowsNoChange) {
  granted("alice", 1h);
  agent_.reset();
  database::Database database(file_);
  Store store(database, clock_);
  Service service({kernel_, store, clock_, users_, cgroups_, [] { return std::vector<devices::Gpu>(); },
                   [] { return devices::CapNames(); }},
                  {}, {});
  EXPECT_EQ(code(service.grant(request("alice"), actor_)), ErrorCode::system);
  EXPECT_EQ(code(service.sync()), ErrorCode::system);
  EXPECT_NE(in_kernel(1000), nullptr);
}

// ---- history

TEST_F(StoreTest, HistoryIsTheLatestFirst) {
  for (const auto* name : {"alice", "bob", "carol"}) granted(name, 3h);
  granted("uid:7", 1h);
  clock_.advance(1h);
  ASSERT_TRUE(service().expire(10));
  const auto since = clock_.wall() + 1min;
  for (const auto* name : {"bob", "alice"}) {
    clock_.advance(1min);
    ASSERT_TRUE(revoke(name));
  }
  EXPECT_THAT(ids(service().history(std::nullopt, std::nullopt, 10, 0)->grants), ElementsAre("g-1", "g-2", "g-4"));
  EXPECT_THAT(ids(service().history(std::nullopt, since, 10, 0)->grants), ElementsAre("g-1", "g-2"));
  EXPECT_THAT(ids(service().history(1001, std::nullopt, 10, 0)->grants), ElementsAre("g-2"));
  const auto page = service().history(std::nullopt, std::nullopt, 2, 0);
  EXPECT_THAT(ids(page->grants), ElementsAre("g-1", "g-2"));
  ASSERT_EQ(page->next, 2U);
  EXPECT_THAT(ids(service().history(std::nullopt, std::nullopt, 2, 2)->grants), ElementsAre("g-4"));
  EXPECT_EQ(service().history(std::nullopt, std::nullopt, 2, 2)->next, std::nullopt);
  EXPECT_EQ(service().history(std::nullopt, std::nullopt, 1000, 0)->grants[2].state, State::expired);
}

}  // namespace
}  // namespace ds01::grants
