// SPDX-License-Identifier: Apache-2.0
// What may be granted, to whom, and what of it reaches the kernel.
#include "grants_fixture.h"

namespace ds01::grants {
namespace {

using fake::code;
using fake::message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ServiceTest, EndNotGivenIsTheDefaultDuration) {
  const auto grant = granted("alice");
  EXPECT_EQ(grant.id(), "g-1");
  EXPECT_EQ(grant.end, End(clock_.boot() + 24h));
  EXPECT_EQ(grant.term, 24h);
  EXPECT_EQ(grant.created, clock_.wall());
  EXPECT_EQ(grant.state, State::active);
  EXPECT_EQ(grant.granted_by.login_uid, 1002U);
  EXPECT_EQ(grant.on_expiry, config::OnExpiry::cut);
}

TEST_F(ServiceTest, GrantIsInTheKernelWhenItReturns) {
  const auto grant = granted("alice", 90min);
  const auto* entry = in_kernel(1000);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->value.ends, 6400'000'000'000U);  // 1,000 s after boot, and 90 minutes
  EXPECT_EQ(entry->value.clock, std::uint32_t{DS01_BOOT_CLOCK});
  EXPECT_EQ(entry->value.number, grant.number);
  for (const auto word : entry->value.gpus) EXPECT_EQ(word, ~0ULL);
  EXPECT_EQ(kernel_.map.size(), 1U);
}

TEST_F(ServiceTest, DurationAtTheMaximumIsGranted) {
  EXPECT_EQ(granted("alice", 7 * 24h).end, End(clock_.boot() + 7 * 24h));
}

TEST_F(ServiceTest, DurationAboveTheMaximumNamesIt) {
  for (const auto duration :
       {std::chrono::seconds(7 * 24h) + 1s, std::chrono::seconds(24h * 36525), std::chrono::seconds::max()}) {
    const auto result = grant("alice", duration);
    EXPECT_EQ(code(result), ErrorCode::invalid);
    EXPECT_THAT(message(result), HasSubstr("maximum of 7d"));
  }
  EXPECT_TRUE(kernel_.map.empty());
}

TEST_F(ServiceTest, DurationNotPositiveIsRefused) {
  EXPECT_EQ(code(grant("alice", 0s)), ErrorCode::invalid);
  EXPECT_EQ(code(grant("alice", -1s)), ErrorCode::invalid);
}

TEST_F(ServiceTest, UntilInTheFutureEndsThen) {
  const auto grant = granted("alice", clock_.wall() + 2h + 1ns);
  EXPECT_EQ(grant.end, End(clock_.wall() + 2h + 1ns));
  EXPECT_EQ(grant.term, 2h + 1s);
  EXPECT_EQ(in_kernel(1000)->value.clock, std::uint32_t{DS01_WALL_CLOCK});
  EXPECT_EQ(in_kernel(1000)->value.ends,
            static_cast<std::uint64_t>((clock_.wall() + 2h + 1ns).time_since_epoch().count()));
}

TEST_F(ServiceTest, UntilPastOrNowIsRefused) {
  for (const auto until : {clock_.wall(), clock_.wall() - 1ns, WallTime(0s)}) {
    const auto result = grant("alice", until);
    EXPECT_EQ(code(result), ErrorCode::invalid);
    EXPECT_THAT(message(result), HasSubstr("past"));
  }
}

TEST_F(ServiceTest, UntilBeyondTheMaximumNamesIt) {
  EXPECT_THAT(message(grant("alice", clock_.wall() + 7 * 24h + 1ns)), HasSubstr("maximum of 7d"));
}

TEST_F(ServiceTest, PermanentHasNoEndAndNoMaximum) {
  const auto grant = granted("alice", Permanent{});
  EXPECT_EQ(grant.end, End(Never{}));
  EXPECT_EQ(grant.term, 0s);
  EXPECT_EQ(in_kernel(1000)->value.ends, DS01_NEVER);
  EXPECT_EQ(service().next_due(), std::nullopt);
}

TEST_F(ServiceTest, MaximumOfAGroupReplacesTheGeneralOne) {
  settings_.maximum_by_group = {{"staff", 1h}, {"nobodies", 1min}};
  configure();
  EXPECT_THAT(message(grant("alice", 2h)), HasSubstr("maximum of 1h (grants.maximum_by_group.staff in agent.yaml)"));
  EXPECT_TRUE(grant("carol", 2h));
  users_.groups["guests"] = {1000};
  settings_.maximum_by_group = {{"guests", 30min}, {"staff", 1h}};
  configure();
  EXPECT_THAT(message(grant("alice", 1h)), HasSubstr("maximum of 30m"));
}

TEST_F(ServiceTest, SettingsNewHoldForTheNextGrant) {
  settings_.default_duration = 1h;
  settings_.maximum = 2h;
  settings_.on_expiry = config::OnExpiry::kill;
  configure();
  const auto grant = granted("alice");
  EXPECT_EQ(grant.end, End(clock_.boot() + 1h));
  EXPECT_EQ(grant.on_expiry, config::OnExpiry::kill);
  EXPECT_THAT(message(this->grant("bob", 3h)), HasSubstr("maximum of 2h"));
}

TEST_F(ServiceTest, OnExpiryGivenWinsOverTheSetting) {
  auto asked = request("alice");
  asked.on_expiry = config::OnExpiry::soft;
  EXPECT_EQ(grant(asked)->on_expiry, config::OnExpiry::soft);
}

// ---- subjects

TEST_F(ServiceTest, SubjectByUidNeedsNoAccount) {
  const auto grant = granted("uid:4242");
  EXPECT_EQ(grant.subject.uid, 4242U);
  EXPECT_EQ(grant.subject.name, "");
  EXPECT_EQ(grant.subject.display(), "uid:4242");
  EXPECT_NE(in_kernel(4242), nullptr);
}

TEST_F(ServiceTest, SubjectByUidAndNameAreTheSame) {
  const auto by_name = granted("alice", 1h);
  const auto by_uid = granted("uid:1000", 2h);
  EXPECT_EQ(by_uid.id(), by_name.id());
  EXPECT_EQ(by_uid.subject.display(), "alice");
  EXPECT_EQ(service().active_count(), 1U);
}

struct BadSubject {
  std::string text;
  ErrorCode code;
};

TEST_F(ServiceTest, SubjectBadIsRefused) {
  const BadSubject table[] = {
      {"", ErrorCode::invalid},
      {"mallory", ErrorCode::not_found},
      {"1000", ErrorCode::not_found},
      {"uid:", ErrorCode::invalid},
      {"uid:-1", ErrorCode::invalid},
      {"uid:4294967295", ErrorCode::invalid},
      {"uid:x", ErrorCode::invalid},
      {"uid:99999999999999999999", ErrorCode::invalid},
      {"cgroup:", ErrorCode::invalid},
      {"cgroup:/", ErrorCode::invalid},
      {"cgroup:a", ErrorCode::invalid},
      {"cgroup:/a/../b", ErrorCode::invalid},
      {"cgroup:/a//b", ErrorCode::invalid},
      {"cgroup:/gone", ErrorCode::not_found},
  };
  for (const auto& [text, expected] : table) EXPECT_EQ(code(grant(text)), expected) << text;
  EXPECT_TRUE(kernel_.map.empty());
  EXPECT_EQ(service().active_count(), 0U);
}

TEST_F(ServiceTest, SubjectRootIsRefusedUnderEveryName) {
  users_.uids["toor"] = 0;
  for (const auto* subject : {"root", "toor", "uid:0", "uid:00"}) {
    EXPECT_EQ(code(grant(subject)), ErrorCode::invalid) << subject;
    EXPECT_THAT(message(grant(subject)), HasSubstr("root"));
  }
}

TEST_F(ServiceTest, NameServiceDownIsNoAnswer) {
  users_.broken = true;
  EXPECT_EQ(code(grant("alice")), ErrorCode::system);
  // Without the account's name nobody would notice when the uid is given to another.
  EXPECT_EQ(code(grant("uid:1000")), ErrorCode::system);
}

TEST_F(ServiceTest, SubjectCgroupReachesTheKernelWithItsDepth) {
  root_.make("a.slice/job");
  const auto grant = granted("cgroup:/a.slice/job");
  EXPECT_EQ(grant.subject.display(), "cgroup:/a.slice/job");
  const auto* entry = in_kernel(DS01_SUBJECT_CGROUP, cgroups_.find("/a.slice/job")->id);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->depth, 2U);
}

// ---- GPUs

TEST_F(ServiceTest, GpusByIndexOrUuidSetTheirBits) {
  gpus_ = {{0, "GPU-aaaa"}, {1, "GPU-bbbb"}, {64, "GPU-cccc"}, {253, "GPU-dddd"}};
  const auto grant = granted("alice", {}, "GPU-dddd,64,0,0");
  EXPECT_EQ(grant.scope(), "GPU 0, 64, 253");
  ASSERT_TRUE(grant.gpus);
  EXPECT_EQ(grant.gpus->at(0).uuid, "GPU-aaaa");
  const auto& bits = in_kernel(1000)->value.gpus;
  EXPECT_EQ(bits[0], 1U);
  EXPECT_EQ(bits[1], 1U);
  EXPECT_EQ(bits[2], 0U);
  EXPECT_EQ(bits[3], 1ULL << 61);
}

TEST_F(ServiceTest, GpusAllIsAllThatEverAppear) {
  EXPECT_EQ(granted("alice").gpus, std::nullopt);
  EXPECT_EQ(granted("alice").scope(), "all GPUs");
}

TEST_F(ServiceTest, GpusBadAreRefused) {
  const std::pair<std::string, std::string> table[] = {
      {"", "no GPU given"},
      {",", "no GPU given"},
      {"2", "no GPU 2"},
      {"GPU-zzzz", "no GPU GPU-zzzz"},
      {"x", "not a GPU"},
      {"0;1", "not a GPU"},
      {"0, 1", "not a GPU"},
      {"all,0", "not a GPU"},
      {"-1", "not a GPU"},
      {"ALL", "not a GPU"},
      {"99999999999999999999", "not a GPU"},
      {"0,2", "no GPU 2"},
      {"MIG-aaaa", "not a GPU"},
  };
  for (const auto& [list, expected] : table) {
    const auto result = grant("alice", {}, list);
    EXPECT_EQ(code(result), ErrorCode::invalid) << list;
    EXPECT_THAT(message(result), HasSubstr(expected)) << list;
  }
  EXPECT_TRUE(kernel_.map.empty());
}

TEST_F(ServiceTest, GpusWithoutDriverIndicesAreTakenAtTheirWord) {
  gpus_.clear();
  EXPECT_EQ(granted("alice", {}, "3").scope(), "GPU 3");
  EXPECT_TRUE(grant("alice", {}, "253"));
  EXPECT_EQ(code(grant("alice", {}, "254")), ErrorCode::invalid);
  EXPECT_EQ(code(grant("alice", {}, "GPU-aaaa")), ErrorCode::invalid);
}

// The driver's list is text from outside: an index beyond the kernel's bits must not be written there.
TEST_F(ServiceTest, GpuBeyondTheKernelsBitsIsRefused) {
  gpus_ = {{0, "GPU-aaaa"}, {256, "GPU-bbbb"}, {4'000'000'000U, "GPU-cccc"}};
  for (const auto* list : {"256", "GPU-bbbb", "4000000000", "0,GPU-cccc"})
    EXPECT_EQ(code(grant("alice", {}, list)), ErrorCode::invalid) << list;
}

// ---- capability nodes

TEST_F(ServiceTest, CapsReachTheKernelByFamilyAndMinor) {
  auto asked = request("alice", {}, "0");
  asked.caps = "imex-channel0,mig/gpu0/gi1/access,nvidia-cap7,nvidia-cap030";
  const auto result = grant(asked);
  ASSERT_TRUE(result) << message(result);
  EXPECT_THAT(result->caps, ElementsAre("nvidia-cap7", "nvidia-cap30", "imex-channel0"));
  EXPECT_EQ(result->scope(), "GPU 0 and nvidia-cap7, nvidia-cap30, imex-channel0");
  const auto& caps = in_kernel(1000)->value.caps;
  EXPECT_EQ(caps[0], DS01_DEV(DS01_CAPS_NVIDIA, 7U));
  EXPECT_EQ(caps[1], DS01_DEV(DS01_CAPS_NVIDIA, 30U));
  EXPECT_EQ(caps[2], DS01_DEV(DS01_CAPS_IMEX, 0U));
  for (int i = 3; i < DS01_GRANT_CAPS; ++i) EXPECT_EQ(caps[i], 0U) << i;
}

TEST_F(ServiceTest, CapsNotGivenAreNone) {
  const auto grant = granted("alice");
  EXPECT_THAT(grant.caps, IsEmpty());
  for (const auto cap : in_kernel(1000)->value.caps) EXPECT_EQ(cap, 0U);
}

TEST_F(ServiceTest, CapsBadAreRefused) {
  const std::pair<std::string, std::string> table[] = {
      {"", "no capability node given"},
      {",", "no capability node given"},
      {"x", "'x' is not a capability node"},
      {"none,nvidia-cap1", "'none' is not a capability node"},
      {"nvidia-cap1, nvidia-cap2", "' nvidia-cap2' is not a capability node"},
      {"nvidia-cap1048576", "'nvidia-cap1048576' is not a capability node"},
      {"mig/gpu9/gi1/access", "the driver has no capability 'mig/gpu9/gi1/access'"},
      {"gpu0/gi1/access", "the driver has no capability 'gpu0/gi1/access'"},
  };
  for (const auto& [list, expected] : table) {
    auto asked = request("alice");
    asked.caps = list;
    const auto result = grant(asked);
    EXPECT_EQ(code(result), ErrorCode::invalid) << list;
    EXPECT_THAT(message(result), HasSubstr(expected)) << list;
  }
  EXPECT_TRUE(kernel_.map.empty());
}

TEST_F(ServiceTest, CapsAreAsManyAsTheKernelTakes) {
  auto asked = request("alice");
  asked.caps = "nvidia-cap1";
  for (int i = 2; i <= DS01_GRANT_CAPS; ++i) asked.caps += ",nvidia-cap" + std::to_string(i);
  EXPECT_EQ(grant(asked)->caps.size(), std::size_t{DS01_GRANT_CAPS});
  asked.caps += ",nvidia-cap1";
  EXPECT_TRUE(grant(asked));
  asked.caps += ",nvidia-cap17";
  EXPECT_THAT(message(grant(asked)), HasSubstr("17 capability nodes, and a grant takes 16"));
}

// ---- reasons

TEST_F(ServiceTest, ReasonRequiredMustBeGiven) {
  settings_.require_reason = true;
  configure();
  EXPECT_THAT(message(grant("alice")), HasSubstr("--reason"));
  auto asked = request("alice");
  asked.reason = "thesis";
  EXPECT_EQ(grant(asked)->reason, "thesis");
}

TEST_F(ServiceTest, ReasonBadIsRefused) {
  auto asked = request("alice");
  for (const std::string& reason : {std::string(501, 'x'), std::string("a\nb"), std::string("a\x1b[2J"),
                                    std::string("a\0b", 3), std::string("\x7f")}) {
    asked.reason = reason;
    EXPECT_EQ(code(grant(asked)), ErrorCode::invalid);
  }
  for (const std::string& reason : {std::string(500, 'x'), std::string("für die Messung"), std::string()}) {
    asked.reason = reason;
    EXPECT_TRUE(this->grant(asked)) << reason;
  }
}

// ---- a second grant

TEST_F(ServiceTest, SecondGrantKeepsIdAndReplacesTheRest) {
  granted("alice", 1h);
  const auto created = clock_.wall();
  clock_.advance(10min);
  auto asked = request("alice", 2h, "1");
  asked.reason = "more";
  const auto second = service().grant(asked, {1002, "carol", std::nullopt});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->id(), "g-1");
  EXPECT_EQ(second->created, created);
  EXPECT_EQ(second->end, End(clock_.boot() + 2h));
  EXPECT_EQ(second->scope(), "GPU 1");
  EXPECT_EQ(second->granted_by.name, "carol");
  EXPECT_EQ(service().find("g-1")->reason, "more");
  EXPECT_EQ(in_kernel(1000)->value.gpus[0], 2U);
  EXPECT_EQ(service().active_count(), 1U);
  EXPECT_EQ(service().next_due(), clock_.boot() + 1h);  // the warning
}

TEST_F(ServiceTest, SecondGrantNeverShortens) {
  granted("alice", 2h);
  const auto before = in_kernel(1000)->value.ends;
  const auto result = grant("alice", 2h - 1s);
  EXPECT_EQ(code(result), ErrorCode::conflict);
  EXPECT_THAT(message(result), HasSubstr("alice already has g-1 until 2026-03-01T14:00:00Z"));
  EXPECT_EQ(in_kernel(1000)->value.ends, before);
  EXPECT_TRUE(grant("alice", 2h));
}

TEST_F(ServiceTest, PermanentIsNotShortenedByAnyEnd) {
  granted("alice", Permanent{});
  EXPECT_EQ(code(grant("alice", 7 * 24h)), ErrorCode::conflict);
  EXPECT_TRUE(grant("alice", Permanent{}));
}

TEST_F(ServiceTest, EndIsExtendedToPermanent) {
  granted("alice", 1h);
  EXPECT_EQ(granted("alice", Permanent{}).id(), "g-1");
  EXPECT_EQ(service().next_due(), std::nullopt);
  EXPECT_EQ(in_kernel(1000)->value.ends, DS01_NEVER);
}

TEST_F(ServiceTest, SubjectsDifferentHaveNumbersOfTheirOwn) {
  EXPECT_EQ(granted("alice").id(), "g-1");
  EXPECT_EQ(granted("bob").id(), "g-2");
  ASSERT_TRUE(revoke("alice"));
  EXPECT_EQ(granted("alice").id(), "g-3");
}

// ---- nothing changes

TEST_F(ServiceTest, DryRunChangesNothing) {
  auto asked = request("alice", 1h);
  asked.dry_run = true;
  const auto grant = this->grant(asked);
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->end, End(clock_.boot() + 1h));
  EXPECT_TRUE(kernel_.map.empty());
  EXPECT_EQ(service().active_count(), 0U);
  EXPECT_EQ(granted("bob").id(), "g-1");
}

TEST_F(ServiceTest, DryRunFindsTheSameErrors) {
  granted("alice", 2h);
  auto asked = request("alice", 1h);
  asked.dry_run = true;
  EXPECT_EQ(code(grant(asked)), ErrorCode::conflict);
}

TEST_F(ServiceTest, KernelFailsGrantChangesNothing) {
  kernel_.broken = true;
  const auto result = grant("alice");
  EXPECT_EQ(code(result), ErrorCode::system);
  EXPECT_EQ(service().active_count(), 0U);
  EXPECT_EQ(service().living_for_uid(1000), nullptr);
  EXPECT_EQ(service().next_due(), std::nullopt);
  EXPECT_THAT(stored(), IsEmpty());
  kernel_.broken = false;
  EXPECT_EQ(granted("alice").id(), "g-2");  // the first number was in the store for a moment
}

TEST_F(ServiceTest, KernelFailsReplacementKeepsTheOldGrant) {
  const auto before = granted("alice", 1h);
  kernel_.broken = true;
  EXPECT_FALSE(grant("alice", 3h, "0"));
  const auto after = service().find("alice");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->end, before.end);
  EXPECT_EQ(after->scope(), "all GPUs");
  ASSERT_EQ(stored().size(), 1U);
  EXPECT_EQ(stored()[0].end, before.end);
  EXPECT_EQ(stored()[0].scope(), "all GPUs");
}

}  // namespace
}  // namespace ds01::grants
