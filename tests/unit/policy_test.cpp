// SPDX-License-Identifier: Apache-2.0
#include "policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "fakes.h"

namespace ds01::policy {
namespace {

using config::DeviceClass;
using config::Mode;
using devices::DeviceRange;
using identity::Cgroup;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using namespace std::chrono_literals;

constexpr ModeState kFull{Mode::full, Mode::full, std::nullopt};

// The compiled rules, looked up as the kernel side does.
class Compiled {
 public:
  explicit Compiled(const Resolved& resolved, const ModeState& mode = kFull,
                    const std::vector<ds01_rule_key>& sockets = {})
      : rules_(compile(resolved, mode, sockets)) {}

  const ds01_rule* find(std::uint32_t kind, std::uint64_t id, std::uint32_t sub = 0) const {
    const auto found = std::ranges::find_if(
        rules_, [&](const Rule& rule) { return rule.key.kind == kind && rule.key.id == id && rule.key.sub == sub; });
    return found == rules_.end() ? nullptr : &found->value;
  }
  // bpf/object.h: the very device before its block.
  const ds01_rule* device(std::uint32_t major, std::uint32_t minor) const {
    const auto number = DS01_DEV(major, minor);
    const auto* rule = find(DS01_RULE_DEVICE, number);
    return rule != nullptr ? rule : find(DS01_RULE_BLOCK, number >> DS01_BLOCK_BITS);
  }
  std::uint32_t flags(std::uint32_t kind, std::uint64_t id, std::uint32_t sub = 0) const {
    const auto* rule = find(kind, id, sub);
    return rule == nullptr ? 0 : rule->flags;
  }
  std::size_t count(std::uint32_t kind) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(rules_, [&](const Rule& rule) { return rule.key.kind == kind; }));
  }

 private:
  std::vector<Rule> rules_;
};

Resolved with_devices(std::vector<DeviceRange> ranges) {
  Resolved resolved;
  resolved.devices = std::move(ranges);
  return resolved;
}

TEST(Compile, MinorsIndexedEachHasItsOwnRule) {
  const Compiled rules(with_devices({{195, 0, 255, DeviceClass::gpu, true}}));
  EXPECT_EQ(rules.count(DS01_RULE_DEVICE), 256U);
  EXPECT_EQ(rules.count(DS01_RULE_BLOCK), 0U);
  for (const std::uint32_t minor : {0U, 1U, 255U}) {
    const auto* rule = rules.device(195, minor);
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(rule->device_class, DS01_CLASS_GPU);
    EXPECT_EQ(rule->flags, DS01_INDEXED);
    EXPECT_EQ(rule->index, minor);
  }
  EXPECT_EQ(rules.device(195, 256), nullptr);
  EXPECT_EQ(rules.device(196, 0), nullptr);
}

// A DRI node's minor is not its GPU's index.
TEST(Compile, NodeOfAGpuHasItsIndex) {
  const Compiled rules(
      with_devices({{226, 128, 128, DeviceClass::dri, false, 3}, {226, 129, 129, DeviceClass::dri, false}}));
  EXPECT_EQ(rules.device(226, 128)->flags, DS01_INDEXED);
  EXPECT_EQ(rules.device(226, 128)->index, 3U);
  EXPECT_EQ(rules.device(226, 129)->flags, 0U);
}

TEST(Compile, CapabilitiesHaveTheirFamily) {
  auto resolved = with_devices({{240, 0, 256, DeviceClass::capability, false, {}, DS01_CAPS_IMEX}});
  resolved.drivers = {{"nvidia-caps", DeviceClass::capability, DS01_CAPS_NVIDIA}};
  const Compiled rules(resolved);
  EXPECT_EQ(rules.device(240, 7)->cap_family, DS01_CAPS_IMEX);
  EXPECT_EQ(rules.device(240, 256)->cap_family, DS01_CAPS_IMEX);
  EXPECT_EQ(rules.find(DS01_RULE_NAME, ds01_name_hash("nvidia-caps", 11))->cap_family, DS01_CAPS_NVIDIA);
}

TEST(Compile, MinorsAlikeWholeBlocksBecomeOneRule) {
  const Compiled rules(with_devices({{234, 0, (1U << 20) - 1, DeviceClass::capability, false}}));
  EXPECT_EQ(rules.count(DS01_RULE_DEVICE), 0U);
  EXPECT_EQ(rules.count(DS01_RULE_BLOCK), 4096U);
  for (const std::uint32_t minor : {0U, 255U, 256U, (1U << 20) - 1}) {
    const auto* rule = rules.device(234, minor);
    ASSERT_NE(rule, nullptr) << minor;
    EXPECT_EQ(rule->device_class, DS01_CLASS_CAPABILITY);
    EXPECT_EQ(rule->flags, 0U);
  }
  EXPECT_EQ(rules.device(233, (1U << 20) - 1), nullptr);
  EXPECT_EQ(rules.device(235, 0), nullptr);
}

TEST(Compile, RangeAcrossBlocksIsCoveredExactly) {
  const Compiled rules(with_devices({{240, 254, 513, DeviceClass::compute, false}}));
  EXPECT_EQ(rules.count(DS01_RULE_DEVICE), 4U);  // 254, 255, 512, 513
  EXPECT_EQ(rules.count(DS01_RULE_BLOCK), 1U);   // 256-511
  for (std::uint32_t minor = 0; minor < 600; ++minor)
    EXPECT_EQ(rules.device(240, minor) != nullptr, minor >= 254 && minor <= 513) << minor;
}

TEST(Compile, OneMinorIsOneRule) {
  const Compiled rules(with_devices({{195, 255, 255, DeviceClass::control, false}}));
  EXPECT_EQ(rules.count(DS01_RULE_DEVICE), 1U);
  EXPECT_NE(rules.device(195, 255), nullptr);
}

struct Overlap {
  const char* name;
  DeviceRange first;
  DeviceRange second;
};
void PrintTo(const Overlap& overlap, std::ostream* out) { *out << overlap.name; }

// Two rules can meet in one node when a name turns out to have a major that is also given by number.
class CompileOverlap : public ::testing::TestWithParam<Overlap> {};

TEST_P(CompileOverlap, RangesOverlappingTheFirstStands) {
  const auto& [name, first, second] = GetParam();
  const Compiled rules(with_devices({first, second}));
  const Compiled alone(with_devices({first}));
  for (std::uint32_t minor = first.first_minor; minor <= first.last_minor; ++minor) {
    const auto* rule = rules.device(195, minor);
    ASSERT_NE(rule, nullptr) << minor;
    EXPECT_EQ(rule->device_class, alone.device(195, minor)->device_class) << minor;
    EXPECT_EQ(rule->flags, alone.device(195, minor)->flags) << minor;
  }
  const auto* beyond = rules.device(195, second.last_minor);
  ASSERT_NE(beyond, nullptr);
  if (second.last_minor > first.last_minor) {
    EXPECT_EQ(beyond->device_class, DS01_CLASS_CONTROL);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policy, CompileOverlap,
    ::testing::Values(
        Overlap{"DeviceThenDevice", {195, 0, 9, DeviceClass::gpu, true}, {195, 5, 20, DeviceClass::control, false}},
        Overlap{"DeviceThenBlock", {195, 0, 9, DeviceClass::gpu, true}, {195, 0, 255, DeviceClass::control, false}},
        Overlap{
            "BlockThenDevice", {195, 0, 255, DeviceClass::compute, false}, {195, 9, 9, DeviceClass::control, false}},
        Overlap{
            "BlockThenIndexed", {195, 0, 255, DeviceClass::compute, false}, {195, 0, 300, DeviceClass::control, true}},
        Overlap{
            "BlockThenBlock", {195, 0, 255, DeviceClass::compute, false}, {195, 0, 511, DeviceClass::control, false}}),
    [](const auto& test) { return test.param.name; });

TEST(Compile, ClassesMapToTheKernels) {
  const std::pair<DeviceClass, int> table[] = {
      {DeviceClass::gpu, DS01_CLASS_GPU},         {DeviceClass::control, DS01_CLASS_CONTROL},
      {DeviceClass::compute, DS01_CLASS_COMPUTE}, {DeviceClass::capability, DS01_CLASS_CAPABILITY},
      {DeviceClass::fabric, DS01_CLASS_FABRIC},   {DeviceClass::dri, DS01_CLASS_DRI},
  };
  for (const auto& [device_class, expected] : table) {
    const Compiled rules(with_devices({{200, 1, 1, device_class, false}}));
    ASSERT_NE(rules.device(200, 1), nullptr);
    EXPECT_EQ(rules.device(200, 1)->device_class, expected);
  }
}

std::uint64_t hash_of(std::string_view name) {
  return ds01_name_hash(name.data(), static_cast<std::uint32_t>(name.size()));
}

// A driver that was just loaded has a major that no rule knows; the kernel side then looks for its name.
TEST(Compile, DriverHasARuleByItsName) {
  Resolved resolved;
  resolved.drivers = {{"nvidia-uvm", DeviceClass::compute}, {"x", DeviceClass::gpu}, {"x", DeviceClass::control}};
  resolved.denied_uids = {1000};
  resolved.allowed_cgroups = {{11, 1}};
  const Compiled rules(resolved);
  EXPECT_EQ(rules.count(DS01_RULE_NAME), 2U);
  const auto* rule = rules.find(DS01_RULE_NAME, hash_of("nvidia-uvm"));
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(rule->device_class, DS01_CLASS_COMPUTE);
  EXPECT_EQ(rule->flags, DS01_USERS);
  EXPECT_EQ(rule->depths, 1U << 1);
  EXPECT_EQ(rule->mode, DS01_MODE_FULL);
  ASSERT_NE(rules.find(DS01_RULE_NAME, hash_of("x")), nullptr);
  EXPECT_EQ(rules.find(DS01_RULE_NAME, hash_of("x"))->device_class, DS01_CLASS_GPU);
}

TEST(Compile, TelemetryOpensGpuAndControlOnly) {
  using enum DeviceClass;
  auto resolved = with_devices({});
  for (const auto device_class : {gpu, control, compute, capability, fabric, dri}) {
    resolved.devices.push_back(
        {200, static_cast<std::uint32_t>(device_class), static_cast<std::uint32_t>(device_class), device_class, false});
    resolved.drivers.push_back({std::string(to_string(device_class)), device_class});
  }
  for (const bool open : {false, true}) {
    resolved.open_telemetry = open;
    const Compiled rules(resolved);
    for (const auto device_class : {gpu, control, compute, capability, fabric, dri}) {
      const auto name = to_string(device_class);
      const bool expected = open && (device_class == gpu || device_class == control);
      EXPECT_EQ(rules.device(200, static_cast<std::uint32_t>(device_class))->flags & DS01_QUERY,
                expected ? DS01_QUERY : 0)
          << name;
      EXPECT_EQ(rules.flags(DS01_RULE_NAME, hash_of(name)) & DS01_QUERY, expected ? DS01_QUERY : 0) << name;
    }
  }
}

TEST(Compile, DeviceRulesKnowTheDepthsOfAllCgroupRules) {
  auto resolved = with_devices({{195, 0, 0, DeviceClass::gpu, true}});
  resolved.allowed_cgroups = {{11, 1}, {12, 3}};
  resolved.exempt_cgroups = {{13, 63}};
  resolved.exempt_pairs = {{{14, 2}, 118}};
  EXPECT_EQ(Compiled(resolved).device(195, 0)->depths, 1ULL << 1 | 1ULL << 2 | 1ULL << 3 | 1ULL << 63);
}

TEST(Compile, NoCgroupRulesNoDepths) {
  EXPECT_EQ(Compiled(with_devices({{195, 0, 0, DeviceClass::gpu, true}})).device(195, 0)->depths, 0U);
}

TEST(Compile, CgroupNamedTwiceCarriesBothFlags) {
  Resolved resolved;
  resolved.allowed_cgroups = {{11, 1}};
  resolved.exempt_cgroups = {{11, 1}, {12, 1}};
  resolved.exempt_pairs = {{{12, 1}, 118}};
  const Compiled rules(resolved);
  EXPECT_EQ(rules.flags(DS01_RULE_CGROUP, 11), DS01_ALLOW | DS01_EXEMPT);
  EXPECT_EQ(rules.flags(DS01_RULE_CGROUP, 12), DS01_EXEMPT | DS01_PAIRED);
  EXPECT_EQ(rules.flags(DS01_RULE_CGROUP_UID, 12, 118), DS01_EXEMPT);
  EXPECT_EQ(rules.count(DS01_RULE_CGROUP), 2U);
}

// The pair exempts its user only: nothing but the pointer to it may stand at the cgroup.
TEST(Compile, PairAloneExemptsNobodyElse) {
  Resolved resolved;
  resolved.exempt_pairs = {{{12, 2}, 118}};
  const Compiled rules(resolved);
  EXPECT_EQ(rules.flags(DS01_RULE_CGROUP, 12), DS01_PAIRED);
  EXPECT_EQ(rules.find(DS01_RULE_CGROUP_UID, 12, 0), nullptr);
  EXPECT_EQ(rules.find(DS01_RULE_UID, 118), nullptr);
}

// What the kernel side makes of the rules of one cgroup: rule_flags() in bpf/decide.h.
std::uint32_t flags_in(const Compiled& rules, std::uint64_t cgroup, uid_t uid, bool in_itself) {
  auto flags = rules.flags(DS01_RULE_CGROUP, cgroup);
  if ((flags & DS01_PAIRED) != 0) flags |= rules.flags(DS01_RULE_CGROUP_UID, cgroup, uid);
  return (flags & DS01_EXACT) != 0 && !in_itself ? 0 : flags & (DS01_EXEMPT | DS01_ALLOW);
}

TEST(Compile, ExactPairHoldsForItsCgroupAndUserOnly) {
  auto resolved = with_devices({{195, 0, 0, DeviceClass::gpu, true}});
  resolved.exact_pairs = {{{12, 2}, 65534}};
  const Compiled rules(resolved);
  EXPECT_EQ(flags_in(rules, 12, 65534, true), DS01_EXEMPT);
  EXPECT_EQ(flags_in(rules, 12, 65534, false), 0U);
  EXPECT_EQ(flags_in(rules, 12, 1000, true), 0U);
  EXPECT_EQ(rules.device(195, 0)->depths, 1U << 2);
}

// An exact rule must take nothing away from what the configuration says about the same cgroup and user.
TEST(Compile, ExactPairAddsToOtherRulesOfItsCgroup) {
  Resolved resolved;
  resolved.exact_pairs = {{{11, 2}, 65534}, {{12, 2}, 65534}, {{13, 2}, 65534}, {{14, 2}, 65534}};
  resolved.exempt_cgroups = {{11, 2}};
  resolved.allowed_cgroups = {{12, 2}};
  resolved.exempt_pairs = {{{13, 2}, 65534}, {{14, 2}, 1000}};
  const Compiled rules(resolved);
  for (const auto uid : {1000U, 65534U}) {
    for (const bool in_itself : {true, false}) {
      EXPECT_EQ(flags_in(rules, 11, uid, in_itself), DS01_EXEMPT) << uid << in_itself;
      EXPECT_EQ(flags_in(rules, 12, uid, in_itself), DS01_ALLOW) << uid << in_itself;
      EXPECT_EQ(flags_in(rules, 13, uid, in_itself), uid == 65534 ? DS01_EXEMPT : 0) << uid << in_itself;
      EXPECT_EQ(flags_in(rules, 14, uid, in_itself), uid == 1000 || in_itself ? DS01_EXEMPT : 0) << uid << in_itself;
    }
  }
}

TEST(Compile, UserDeniedAndExemptCarriesBothFlags) {
  Resolved resolved;
  resolved.denied_uids = {1000, 1001};
  resolved.exempt_uids = {1000, 1002};
  const Compiled rules(resolved);
  EXPECT_EQ(rules.flags(DS01_RULE_UID, 1000), DS01_DENY | DS01_EXEMPT);
  EXPECT_EQ(rules.flags(DS01_RULE_UID, 1001), DS01_DENY);
  EXPECT_EQ(rules.flags(DS01_RULE_UID, 1002), DS01_EXEMPT);
}

// Without this flag the kernel side does not look for a user's rule.
TEST(Compile, DeviceRulesKnowWhetherUserRulesExist) {
  auto resolved = with_devices({{195, 0, 0, DeviceClass::gpu, true}});
  EXPECT_EQ(Compiled(resolved).device(195, 0)->flags & DS01_USERS, 0U);
  resolved.denied_uids = {1000};
  EXPECT_NE(Compiled(resolved).device(195, 0)->flags & DS01_USERS, 0U);
  resolved.denied_uids.clear();
  resolved.exempt_uids = {1000};
  EXPECT_NE(Compiled(resolved).device(195, 0)->flags & DS01_USERS, 0U);
}

TEST(Compile, RootIsNeverDenied) {
  Resolved resolved;
  resolved.denied_uids = {0, 1000};
  EXPECT_EQ(Compiled(resolved).find(DS01_RULE_UID, 0), nullptr);
}

TEST(Compile, ModeWithoutEndNeverChanges) {
  const auto* rule = Compiled(with_devices({{195, 0, 0, DeviceClass::gpu, true}})).device(195, 0);
  EXPECT_EQ(rule->mode, DS01_MODE_FULL);
  EXPECT_EQ(rule->mode_until, DS01_NEVER);
}

TEST(Compile, ModeForAWhileFallsBackByItself) {
  const ModeState mode{Mode::disabled, Mode::monitoring, BootTime(77s)};
  const Compiled rules(with_devices({{195, 0, 0, DeviceClass::gpu, true}}), mode);
  const auto* rule = rules.device(195, 0);
  EXPECT_EQ(rule->mode, DS01_MODE_DISABLED);
  EXPECT_EQ(rule->mode_after, DS01_MODE_MONITORING);
  EXPECT_EQ(rule->mode_until, 77'000'000'000U);
}

// Who may knock at admin.sock does not depend on the GPU gate's mode.
TEST(Compile, SocketIsGatedInEveryMode) {
  const ds01_rule_key key{4711, DS01_RULE_SOCKET, 25};
  for (const auto mode : {Mode::disabled, Mode::monitoring, Mode::full}) {
    const Compiled rules({}, {mode, mode, BootTime(1s)}, {key});
    const auto* rule = rules.find(DS01_RULE_SOCKET, 4711, 25);
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(rule->device_class, DS01_CLASS_ADMIN_SOCKET);
    EXPECT_EQ(rule->mode, DS01_MODE_FULL);
    EXPECT_EQ(rule->mode_until, DS01_NEVER);
  }
}

// The enforcer compares rules byte by byte: what compile() leaves out must be zero, not chance.
TEST(Compile, SameInputGivesTheSameBytes) {
  auto resolved = with_devices({{195, 0, 255, DeviceClass::gpu, true}, {234, 0, 511, DeviceClass::capability, false}});
  resolved.denied_uids = {1000};
  resolved.allowed_cgroups = {{11, 1}};
  const auto a = compile(resolved, kFull, {});
  const auto b = compile(resolved, kFull, {});
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(std::memcmp(&a[i], &b[i], sizeof a[i]), 0) << i;
}

TEST(ModeState, UntilReachedIsTheModeAfter) {
  const ModeState mode{Mode::disabled, Mode::full, BootTime(10s)};
  EXPECT_EQ(mode.at(BootTime(9s)), Mode::disabled);
  EXPECT_EQ(mode.at(BootTime(10s)), Mode::full);
  EXPECT_EQ(kFull.at(BootTime(1h)), Mode::full);
}

class ResolveTest : public ::testing::Test {
 protected:
  ResolveTest() { config_.allow_cgroups.clear(); }

  Resolved run() const {
    auto resolved = resolve(config_, machine_, users_, identity::Cgroups(root_.path()));
    EXPECT_EQ(fake::message(resolved), "");
    return resolved.value_or(Resolved{});
  }

  config::Config config_;
  devices::Machine machine_;
  fake::Users users_;
  fake::Folder root_;
};

TEST_F(ResolveTest, NamesKnownBecomeIds) {
  root_.make("ds01.slice");
  root_.make("system.slice/a.service");
  config_.allow_cgroups = {"/ds01.slice"};
  config_.exempt_cgroups = {"/system.slice"};
  config_.exempt_rules = {{"/system.slice/a.service", "carol", ""}};
  config_.exempt_users = {"alice", "uid:4242"};
  config_.exempt_groups = {"staff"};
  config_.deny_users = {"bob"};
  const auto resolved = run();
  EXPECT_THAT(resolved.exempt_uids, ElementsAre(1000, 1001, 4242));
  EXPECT_THAT(resolved.denied_uids, ElementsAre(1001));
  ASSERT_EQ(resolved.allowed_cgroups.size(), 1U);
  EXPECT_EQ(resolved.allowed_cgroups[0].depth, 1U);
  ASSERT_EQ(resolved.exempt_pairs.size(), 1U);
  EXPECT_EQ(resolved.exempt_pairs[0].first.depth, 2U);
  EXPECT_EQ(resolved.exempt_pairs[0].second, 1002U);
  EXPECT_EQ(resolved.exempt_cgroups.size(), 1U);
  EXPECT_THAT(resolved.warnings, IsEmpty());
}

TEST_F(ResolveTest, NamesUnknownAreWarningsAndTheRestStands) {
  config_.exempt_users = {"mallory", "alice"};
  config_.exempt_groups = {"nobodies"};
  config_.deny_users = {"trudy", "bob"};
  const auto resolved = run();
  EXPECT_THAT(resolved.exempt_uids, ElementsAre(1000));
  EXPECT_THAT(resolved.denied_uids, ElementsAre(1001));
  EXPECT_THAT(resolved.warnings, ElementsAre("deny.users: no such user: trudy, ignoring it",
                                             "exempt.users: no such user: mallory, ignoring it",
                                             "exempt.groups: no such group: nobodies, ignoring it"));
}

TEST_F(ResolveTest, NameServiceDownIsAWarning) {
  users_.broken = true;
  config_.deny_users = {"bob"};
  EXPECT_THAT(run().warnings, ElementsAre(HasSubstr("Connection timed out")));
}

TEST_F(ResolveTest, NameServiceDownKeepsWhoWasDenied) {
  config_.deny_users = {"bob"};
  const auto before = run();
  users_.broken = true;
  const auto after = resolve(config_, machine_, users_, identity::Cgroups(root_.path()), &before);
  ASSERT_TRUE(after);
  EXPECT_THAT(after->denied_uids, ElementsAre(1001));
}

TEST_F(ResolveTest, CgroupMissingIsSilentUntilItAppears) {
  config_.allow_cgroups = {"/ds01.slice"};
  config_.exempt_rules = {{"/late.slice", "alice", ""}};
  auto resolved = run();
  EXPECT_THAT(resolved.allowed_cgroups, IsEmpty());
  EXPECT_THAT(resolved.exempt_pairs, IsEmpty());
  EXPECT_THAT(resolved.warnings, IsEmpty());
  root_.make("ds01.slice");
  root_.make("late.slice");
  resolved = run();
  EXPECT_EQ(resolved.allowed_cgroups.size(), 1U);
  EXPECT_EQ(resolved.exempt_pairs.size(), 1U);
}

TEST_F(ResolveTest, PairWithAGroupExemptsItsMembersThere) {
  root_.make("a.slice");
  config_.exempt_rules = {{"/a.slice", "", "staff"}, {"/a.slice", "", "nobodies"}};
  const auto resolved = run();
  const auto cgroup = *identity::Cgroups(root_.path()).find("/a.slice");
  EXPECT_THAT(resolved.exempt_pairs, ElementsAre(Pair(cgroup, 1000), Pair(cgroup, 1001)));
  EXPECT_THAT(resolved.exempt_uids, IsEmpty());
  EXPECT_THAT(resolved.warnings, ElementsAre("exempt.rules: no such group: nobodies, ignoring it"));
}

TEST_F(ResolveTest, PairWithUnknownUserExemptsNobody) {
  root_.make("a.slice");
  config_.exempt_rules = {{"/a.slice", "mallory", ""}};
  const auto resolved = run();
  EXPECT_THAT(resolved.exempt_pairs, IsEmpty());
  EXPECT_THAT(resolved.exempt_cgroups, IsEmpty());
  EXPECT_THAT(resolved.warnings, ElementsAre("exempt.rules: no such user: mallory, ignoring it"));
}

// libnvidia-container's hook runs as this user in the container runtime's own cgroup.
TEST_F(ResolveTest, RuntimesOfContainersAreExemptExactly) {
  EXPECT_THAT(run().exact_pairs, IsEmpty());
  root_.make("system.slice/docker.service");
  root_.make("system.slice/containerd.service");
  const identity::Cgroups cgroups(root_.path());
  EXPECT_THAT(run().exact_pairs, ElementsAre(Pair(*cgroups.find("/system.slice/docker.service"), 65534),
                                             Pair(*cgroups.find("/system.slice/containerd.service"), 65534)));
}

TEST_F(ResolveTest, RootInDenyIsAWarning) {
  users_.uids["toor"] = 0;
  config_.deny_users = {"toor"};
  const auto resolved = run();
  EXPECT_THAT(resolved.denied_uids, IsEmpty());
  EXPECT_THAT(resolved.warnings, ElementsAre(HasSubstr("deny.users")));
}

TEST_F(ResolveTest, DriversNotLoadedAreKnownByName) {
  machine_.majors = {{"loaded", 240}};
  config_.devices = {{DeviceClass::compute, "loaded", 0, 255, false, ""},
                     {DeviceClass::fabric, "late", 0, 255, false, ""}};
  const auto resolved = run();
  EXPECT_THAT(resolved.devices, ElementsAre(DeviceRange{240, 0, 255, DeviceClass::compute, false}));
  EXPECT_THAT(resolved.drivers, ElementsAre(devices::Driver{"late", DeviceClass::fabric}));
}

TEST_F(ResolveTest, TelemetryIsAsConfigured) {
  EXPECT_FALSE(run().open_telemetry);
  config_.open_telemetry = true;
  EXPECT_TRUE(run().open_telemetry);
}

TEST_F(ResolveTest, VitalDeviceIsAnError) {
  machine_.majors = {{"nvidia", 1}};
  config_.devices = {{DeviceClass::gpu, "nvidia", 0, 255, false, "agent.yaml:3: devices[0]"}};
  EXPECT_EQ(fake::code(resolve(config_, machine_, users_, identity::Cgroups(root_.path()))), ErrorCode::invalid);
}

TEST(NamedCgroups, EveryRuleWithACgroupCounts) {
  config::Config config;
  config.allow_cgroups = {"/a", "/b"};
  config.exempt_cgroups = {"/b", "/c"};
  config.exempt_rules = {{"/d", "alice", ""}};
  EXPECT_THAT(named_cgroups(config),
              ElementsAre("/a", "/b", "/c", "/d", "/system.slice/containerd.service", "/system.slice/docker.service"));
}

}  // namespace
}  // namespace ds01::policy
