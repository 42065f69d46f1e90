// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace ds01::config {

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::Pointwise;
using ::testing::StartsWith;

// All of a rule but where it was written.
MATCHER(SameRule, "") {
  DeviceRule rule = std::get<0>(arg);
  rule.where = std::get<1>(arg).where;
  return rule == std::get<1>(arg);
}

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ds01-config-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
  }
  ~ConfigTest() override { std::filesystem::remove_all(dir_); }

  Result<Config> load_text(std::string_view text) const {
    const auto path = dir_ / "agent.yaml";
    std::ofstream(path, std::ios::binary) << text;
    return load(path);
  }

  Config good(std::string_view text) const {
    auto config = load_text(text);
    if (!config) ADD_FAILURE() << config.error().message << "\nfor:\n" << text;
    return config ? *config : Config{};
  }

  // The error's text without the folder: "agent.yaml:1: mode: …".
  std::string bad(std::string_view text) const {
    const auto config = load_text(text);
    if (config) return "no error";
    const std::string prefix = dir_.string() + "/";
    EXPECT_THAT(config.error().message, StartsWith(prefix));
    return config.error().message.substr(prefix.size());
  }

  // The reason for refusing `value` in the second line as the value of `key` (dotted, at most one dot).
  std::string bad_value(std::string_view key, std::string_view value) const {
    const auto dot = key.find('.');
    const auto text = dot == key.npos ? fmt::format("# one\n{}: {}\n", key, value)
                                      : fmt::format("{}:\n  {}: {}\n", key.substr(0, dot), key.substr(dot + 1), value);
    return without_prefix(bad(text), fmt::format("agent.yaml:2: {}: ", key));
  }

  // The same for one of the values of a device rule.
  std::string bad_device(std::string_view key, std::string_view rule) const {
    return without_prefix(bad(fmt::format("devices:\n  - {}\n", rule)),
                          fmt::format("agent.yaml:2: devices[0]{}: ", key));
  }

  static std::string without_prefix(std::string message, std::string_view prefix) {
    EXPECT_THAT(message, StartsWith(std::string(prefix)));
    return message.substr(std::min(message.size(), prefix.size()));
  }

  std::filesystem::path dir_;
};

// ---- The shipped file

std::filesystem::path source_root() { return DS01_SOURCE_DIR; }

std::string shipped_text() {
  std::ifstream file(source_root() / "config" / "agent.yaml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void expect_defaults(const Config& config) {
  const Config defaults;
  EXPECT_EQ(config.gpu_mode, defaults.gpu_mode);
  EXPECT_THAT(config.devices, Pointwise(SameRule(), default_devices()));
  EXPECT_FALSE(config.open_telemetry);
  EXPECT_EQ(config.allow_cgroups, defaults.allow_cgroups);
  EXPECT_EQ(config.exempt_users, defaults.exempt_users);
  EXPECT_EQ(config.exempt_groups, defaults.exempt_groups);
  EXPECT_EQ(config.exempt_cgroups, defaults.exempt_cgroups);
  EXPECT_EQ(config.exempt_rules, defaults.exempt_rules);
  EXPECT_EQ(config.deny_users, defaults.deny_users);
  EXPECT_EQ(config.admin_users, defaults.admin_users);
  EXPECT_EQ(config.admin_groups, defaults.admin_groups);
  EXPECT_EQ(config.grants, defaults.grants);
  EXPECT_EQ(config.notices, defaults.notices);
  EXPECT_EQ(config.audit, defaults.audit);
  EXPECT_THAT(config.without_effect, IsEmpty());
}

TEST_F(ConfigTest, ShippedFileHasTheDefaults) { expect_defaults(good(shipped_text())); }

TEST_F(ConfigTest, SmallestFileHasTheDefaults) { expect_defaults(good("version: 1\n")); }

TEST_F(ConfigTest, ShippedFileBeginsWithItsLicence) {
  EXPECT_THAT(shipped_text(), StartsWith("# SPDX-License-Identifier: Apache-2.0\n"));
}

// The devices are comments in the shipped file, so that an upgrade's new rules reach those who keep their old file.
TEST_F(ConfigTest, ShippedDevicesInCommentsAreTheBuiltInOnes) {
  std::istringstream lines(shipped_text());
  std::string text;
  for (std::string line; std::getline(lines, line);)
    if (line == "# devices:" || line.starts_with("#   - {class")) text += line.substr(2) + "\n";
  EXPECT_THAT(good(text).devices, Pointwise(SameRule(), default_devices()));
}

// ---- What is accepted

TEST_F(ConfigTest, EveryKeyIsRead) {
  const Config config = good(R"(
version: 1
mode: full
devices:
  - {class: gpu, major: nvidia, minors: 0-7, index: minor}
  - {class: dri, major: 226}
telemetry: allow
allow: {cgroups: [/a.slice, /b.slice/c]}
exempt: {users: [x, uid:1000], groups: [g], cgroups: [/system.slice/s.service], rules: [{cgroup: /r, user: u}, {group: g, cgroup: /r}]}
deny: {users: [mallory]}
admin: {users: [boss], groups: []}
grants:
  {default: 2h, maximum: 1d12h, maximum_by_group: {students: 4h, staff: 30d}, require_reason: true, on_expiry: kill,
   auto_approve: [{group: staff, up_to: 2d}, {group: ops, up_to: 8h}], request_ttl: 3h, max_pending_per_user: 5}
notices: {before_end: [5m, 2h, 30s]}
audit: {limit: 0, window: 5m, journald: false, json: ""}
)");
  EXPECT_EQ(config.gpu_mode, Mode::full);
  EXPECT_THAT(config.devices,
              Pointwise(SameRule(), std::vector<DeviceRule>{{DeviceClass::gpu, "nvidia", 0, 7, true, ""},
                                                            {DeviceClass::dri, 226U, 0, 1048575, false, ""}}));
  EXPECT_TRUE(config.open_telemetry);
  EXPECT_THAT(config.allow_cgroups, ElementsAre("/a.slice", "/b.slice/c"));
  EXPECT_THAT(config.exempt_users, ElementsAre("x", "uid:1000"));
  EXPECT_THAT(config.exempt_groups, ElementsAre("g"));
  EXPECT_THAT(config.exempt_cgroups, ElementsAre("/system.slice/s.service"));
  EXPECT_THAT(config.exempt_rules, ElementsAre(ExemptRule{"/r", "u", ""}, ExemptRule{"/r", "", "g"}));
  EXPECT_THAT(config.deny_users, ElementsAre("mallory"));
  EXPECT_THAT(config.admin_users, ElementsAre("boss"));
  EXPECT_THAT(config.admin_groups, IsEmpty());
  EXPECT_EQ(config.grants.default_duration, 2h);
  EXPECT_EQ(config.grants.maximum, 36h);
  EXPECT_THAT(config.grants.maximum_by_group, ElementsAre(Pair("staff", 30 * 24h), Pair("students", 4h)));
  EXPECT_TRUE(config.grants.require_reason);
  EXPECT_EQ(config.grants.on_expiry, OnExpiry::kill);
  EXPECT_THAT(config.grants.auto_approve, ElementsAre(AutoApprove{"staff", 48h}, AutoApprove{"ops", 8h}));
  EXPECT_EQ(config.grants.request_ttl, 3h);
  EXPECT_EQ(config.grants.max_pending_per_user, 5U);
  EXPECT_THAT(config.notices.before_end, ElementsAre(2h, 5min, 30s));
  EXPECT_EQ(config.audit.limit, 0U);
  EXPECT_EQ(config.audit.window, 5min);
  EXPECT_FALSE(config.audit.journald);
  EXPECT_EQ(config.audit.json, "");
  EXPECT_THAT(config.without_effect, IsEmpty());
}

TEST_F(ConfigTest, DeviceRuleKnowsItsLine) {
  const Config config =
      good("devices:\n  - {class: gpu, major: 195, minors: 0}\n  - {class: control, major: 195, minors: 255}\n");
  ASSERT_EQ(config.devices.size(), 2U);
  EXPECT_THAT(config.devices[1].where, testing::EndsWith("agent.yaml:3: devices[1]"));
  EXPECT_EQ(default_devices().front().where, "built-in default");
}

TEST_F(ConfigTest, GateModeWinsOverMode) {
  EXPECT_EQ(good("mode: full\n").gpu_mode, Mode::full);
  EXPECT_EQ(good("gates: {gpu: full}\n").gpu_mode, Mode::full);
  EXPECT_EQ(good("mode: full\ngates: {gpu: disabled}\n").gpu_mode, Mode::disabled);
  EXPECT_EQ(good("gates: {gpu: disabled}\nmode: full\n").gpu_mode, Mode::disabled);
  EXPECT_EQ(good("mode: full\ngates: {docker: disabled}\n").gpu_mode, Mode::full);
}

TEST_F(ConfigTest, KeysWithoutEffectAreNamed) {
  const Config config = good(R"(
gates: {docker: monitoring}
notices: {denied_text: "Ask Eve."}
quota: {limits: /other.yaml, warn_at: 1}
)");
  EXPECT_THAT(config.without_effect,
              ElementsAre("gates.docker", "notices.denied_text", "quota.limits", "quota.warn_at"));
}

TEST_F(ConfigTest, DefaultOfKeyWithoutEffectIsNotNamed) {
  const Config config = good(R"(
gates: {docker: disabled}
telemetry: deny
grants: {soft_grace: 1d, kill_grace: 1m}
notices: {denied_text: ""}
quota: {limits: /etc/ds01/resource-limits.yaml, warn_at: 0.90}
)");
  EXPECT_THAT(config.without_effect, IsEmpty());
}

TEST_F(ConfigTest, KeysWithEffectAreNotNamed) {
  const Config config = good(R"(
grants: {auto_approve: [{group: staff, up_to: 1h}], request_ttl: 1h, max_pending_per_user: 4}
notices: {before_end: [5m]}
)");
  EXPECT_THAT(config.without_effect, IsEmpty());
}

TEST_F(ConfigTest, WarningsMayBeNone) {
  EXPECT_THAT(good("notices: {before_end: []}\n").notices.before_end, IsEmpty());
}

TEST_F(ConfigTest, WindowsLineEndsAndByteOrderMarkAreAccepted) {
  EXPECT_EQ(good("\xef\xbb\xbf"
                 "version: 1\r\nmode: full\r\n")
                .gpu_mode,
            Mode::full);
}

// ---- The file

TEST_F(ConfigTest, MissingFileIsNotFound) {
  const auto config = load(dir_ / "absent.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::not_found);
  EXPECT_EQ(config.error().message, (dir_ / "absent.yaml").string() + ": no such file");
}

TEST_F(ConfigTest, DirectoryIsRefused) {
  const auto config = load(dir_);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message, dir_.string() + ": is a directory; expected a file");
}

TEST_F(ConfigTest, FileOverTheSizeLimitIsRefused) {
  EXPECT_EQ(good("version: 1\n#" + std::string(256 * 1024 - 12, 'x')).gpu_mode, Mode::monitoring);
  EXPECT_EQ(bad("version: 1\n#" + std::string(256 * 1024 - 11, 'x')), "agent.yaml: larger than 262144 bytes");
}

TEST_F(ConfigTest, FileWithoutKeysIsRefused) {
  for (const auto text : {"", "\n\n", "# only a comment\n", "---\n# nothing\n", "\xef\xbb\xbf"})
    EXPECT_EQ(bad(text), "agent.yaml:1: nothing is set; the smallest file is the line 'version: 1'") << text;
}

TEST_F(ConfigTest, DocumentThatIsNoMapIsRefused) {
  EXPECT_EQ(bad("just words\n"),
            "agent.yaml:1: expected keys and values such as 'mode: monitoring', found a single value");
  EXPECT_EQ(bad("# x\n- mode\n"), "agent.yaml:2: expected keys and values such as 'mode: monitoring', found a list");
}

TEST_F(ConfigTest, SyntaxErrorNamesTheLine) {
  EXPECT_EQ(bad("version: 1\ngrants: {default: 1h\n"), "agent.yaml:2: not valid YAML: end of map flow not found");
  EXPECT_EQ(bad("mode: full\n}\n"), "agent.yaml:2: not valid YAML: illegal flow end");
}

// The YAML library itself takes this for one long text, without the deny.
TEST_F(ConfigTest, QuoteThatIsNotClosedIsRefused) {
  for (const auto quote : {"'", "\""}) {
    EXPECT_EQ(bad(fmt::format("version: 1\nnotices:\n  denied_text: {}Ask Eve.\ndeny: {{users: [x]}}\n", quote)),
              "agent.yaml:4: not valid YAML: a quoted text is not closed");
    EXPECT_EQ(bad(fmt::format("version: 1\nmode: {}full", quote)),
              "agent.yaml:2: not valid YAML: a quoted text is not closed");
  }
}

TEST_F(ConfigTest, SecondDocumentIsRefused) {
  constexpr auto kReason = "something follows the end of the document; write one document without '---' in it";
  EXPECT_EQ(bad("version: 1\n---\nmode: full\n"), "agent.yaml:2: "s + kReason);
  EXPECT_EQ(bad("version: 1\n...\nmode: full\n"), "agent.yaml:3: "s + kReason);
  EXPECT_EQ(bad("{version: 1} mode\n"), "agent.yaml:1: "s + kReason);
  EXPECT_EQ(good("---\nmode: full\n...\n").gpu_mode, Mode::full);
}

TEST_F(ConfigTest, ExemptRuleIsForAUserOrAGroup) {
  EXPECT_EQ(bad("exempt:\n  rules:\n  - {cgroup: /a, user: u, group: g}\n"),
            "agent.yaml:3: exempt.rules[0]: has both 'user' and 'group'; write a rule for each");
}

TEST_F(ConfigTest, AnchorsAndAliasesAreRefused) {
  constexpr auto kReason = "anchors (&name) and aliases (*name) are not accepted; write the value out";
  EXPECT_EQ(bad("version: 1\nmode: &m full\n"), "agent.yaml:2: "s + kReason);
  EXPECT_EQ(bad("version: 1\nallow: &a {cgroups: []}\n"), "agent.yaml:2: "s + kReason);
  EXPECT_EQ(bad("version: 1\ndeny: {users: &a []}\n"), "agent.yaml:2: "s + kReason);
  EXPECT_EQ(bad("version: 1\nmode: &m\n"), "agent.yaml:2: "s + kReason);
  EXPECT_EQ(bad("version: &v 1\nmode: *v\n"), "agent.yaml:1: "s + kReason);
}

// Each list holds the one before nine times: 9 to the power of 1,000 names, if anybody walked it.
TEST_F(ConfigTest, AliasBombIsRefusedAtItsFirstAnchor) {
  std::string text = "a0: &a0 [x]\n";
  for (int i = 1; i < 1000; ++i)
    text += fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  EXPECT_THAT(bad(text), StartsWith("agent.yaml:1: anchors"));
}

TEST_F(ConfigTest, TagsAreRefused) {
  constexpr auto kReason = "agent.yaml:2: tags (!name) are not accepted; write the value alone";
  EXPECT_EQ(bad("version: 1\nmode: !!str full\n"), kReason);
  EXPECT_EQ(bad("version: 1\ndeny: !x {users: []}\n"), kReason);
  EXPECT_EQ(bad("version: 1\ndeny: {users: !x []}\n"), kReason);
}

// The YAML library drops the ones that it does not know.
TEST_F(ConfigTest, DirectivesAreRefused) {
  EXPECT_EQ(bad("# x\n%deny: {users: [x]}\n---\nversion: 1\n"),
            "agent.yaml:2: directives (%NAME) are not accepted; write '#' for a comment");
}

TEST_F(ConfigTest, DeepNestingIsRefused) {
  EXPECT_EQ(bad("version: 1\nmode: " + std::string(15, '[') + std::string(15, ']')),
            "agent.yaml:2: mode: expected disabled, monitoring or full, found a list");
  EXPECT_EQ(bad("version: 1\nmode: " + std::string(16, '[') + std::string(16, ']')),
            "agent.yaml:2: nested deeper than 16 levels");
  EXPECT_EQ(bad("version: 1\nmode: " + std::string(200000, '[')), "agent.yaml:2: nested deeper than 16 levels");
}

TEST_F(ConfigTest, TabsInTheIndentationAreRefused) {
  EXPECT_EQ(bad("version: 1\ngrants:\n\tdefault: 1h\n"), "agent.yaml:3: a tab in the indentation; indent with spaces");
  EXPECT_EQ(bad("grants:\n  \tdefault: 1h\n"), "agent.yaml:2: a tab in the indentation; indent with spaces");
  EXPECT_EQ(good("mode: full\t# a tab elsewhere\n\t\n").gpu_mode, Mode::full);
}

TEST_F(ConfigTest, ControlCharactersAreRefused) {
  EXPECT_EQ(bad("version: 1\nmode: fu\0ll\n"sv), "agent.yaml:2: control character 0x00; write plain text");
  EXPECT_EQ(bad("v\0e\0r\0"sv), "agent.yaml:1: control character 0x00; write plain text");
  EXPECT_EQ(bad("version: 1\n# \x1b[2J\n"), "agent.yaml:2: control character 0x1b; write plain text");
  // Read as the end of the file by the YAML library, which would drop the mode.
  EXPECT_EQ(bad("version: 1\n\x04mode: full\n"), "agent.yaml:2: control character 0x04; write plain text");
}

// ---- Keys

TEST_F(ConfigTest, UnknownKeySuggestsTheNearOne) {
  EXPECT_EQ(bad("version: 1\ngrant: {}\n"), "agent.yaml:2: grant: unknown key; did you mean 'grants'?");
  EXPECT_EQ(bad("Mode: full\n"), "agent.yaml:1: Mode: unknown key; did you mean 'mode'?");
  EXPECT_EQ(bad("grants:\n  on-expiry: cut\n"),
            "agent.yaml:2: grants.on-expiry: unknown key; did you mean 'on_expiry'?");
  EXPECT_EQ(bad("devices:\n- {class: gpu, major: 195, minor: 0}\n"),
            "agent.yaml:2: devices[0].minor: unknown key; did you mean 'minors'?");
}

TEST_F(ConfigTest, UnknownKeyWithoutNearOneListsAll) {
  EXPECT_EQ(bad("deny:\n  everybody: true\n"), "agent.yaml:2: deny.everybody: unknown key; expected one of users");
  EXPECT_THAT(bad("zzz: 1\n"),
              StartsWith("agent.yaml:1: zzz: unknown key; expected one of version, mode, gates, devices,"));
  EXPECT_THAT(bad("audit:\n  window:\n    x: 1\n"), StartsWith("agent.yaml:3: audit.window: expected a duration"));
}

TEST_F(ConfigTest, UnknownKeyIsRefusedInEverySection) {
  for (const auto section : {"gates", "allow", "exempt", "deny", "admin", "grants", "notices", "audit", "quota"})
    EXPECT_THAT(bad(fmt::format("{}:\n  qqqqqqqq: 1\n", section)),
                StartsWith(fmt::format("agent.yaml:2: {}.qqqqqqqq: unknown key; expected one of ", section)));
}

TEST_F(ConfigTest, UnknownKeyIsShownHarmlessly) {
  EXPECT_THAT(bad("\"a\\eb\": 1\n"), StartsWith("agent.yaml:1: a\\x1bb: unknown key"));
  EXPECT_THAT(bad(std::string(900, 'k') + ": 1\n"),
              StartsWith("agent.yaml:1: " + std::string(80, 'k') + "…: unknown key"));
}

TEST_F(ConfigTest, RepeatedKeyIsRefused) {
  EXPECT_EQ(bad("mode: full\nversion: 1\nmode: disabled\n"),
            "agent.yaml:3: mode: repeated key, already set in line 1; keep one");
  EXPECT_EQ(bad("grants:\n  default: 1h\n  default: 1h\n"),
            "agent.yaml:3: grants.default: repeated key, already set in line 2; keep one");
  EXPECT_EQ(bad("devices:\n- class: gpu\n  major: 195\n  class: dri\n"),
            "agent.yaml:4: devices[0].class: repeated key, already set in line 2; keep one");
  EXPECT_EQ(bad("grants: {maximum_by_group: {a: 1h,\n\"a\": 2h}}\n"),
            "agent.yaml:2: grants.maximum_by_group.a: repeated key, already set in line 1; keep one");
  EXPECT_EQ(bad("exempt:\n  rules:\n  - {cgroup: /a, user: u, user: v}\n"),
            "agent.yaml:3: exempt.rules[0].user: repeated key, already set in line 3; keep one");
}

TEST_F(ConfigTest, KeyThatIsNoWordIsRefused) {
  EXPECT_EQ(bad("version: 1\n? [mode]\n: full\n"), "agent.yaml:2: a key must be a plain word");
  EXPECT_EQ(bad("deny:\n  {users: []}: 1\n"), "agent.yaml:2: deny: a key must be a plain word");
  EXPECT_EQ(bad("version: 1\n~: full\n"), "agent.yaml:2: a key must be a plain word");
}

TEST_F(ConfigTest, MissingKeyOfAnItemIsNamed) {
  EXPECT_EQ(bad_device("", "{major: 195}"), "needs the key 'class'");
  EXPECT_EQ(bad_device("", "{class: gpu}"), "needs the key 'major' or 'vendor'");
  EXPECT_EQ(bad("exempt:\n  rules: [{user: u}]\n"), "agent.yaml:2: exempt.rules[0]: needs the key 'cgroup'");
  EXPECT_EQ(bad("exempt:\n  rules: [{cgroup: /a}]\n"),
            "agent.yaml:2: exempt.rules[0]: needs the key 'user' or 'group'");
  EXPECT_EQ(bad("grants:\n  auto_approve: [{group: a}]\n"),
            "agent.yaml:2: grants.auto_approve[0]: needs the key 'up_to'");
  EXPECT_EQ(bad("grants:\n  auto_approve: [{up_to: 1h}]\n"),
            "agent.yaml:2: grants.auto_approve[0]: needs the key 'group'");
}

// ---- Types

struct Expectation {
  std::string_view key;
  std::string_view expected;
};

constexpr Expectation kScalars[] = {
    {"version", "1"},
    {"mode", "disabled, monitoring or full"},
    {"telemetry", "deny or allow"},
    {"gates.gpu", "disabled, monitoring or full"},
    {"gates.docker", "disabled, monitoring or full"},
    {"grants.default", "a duration such as 90m or 1d12h"},
    {"grants.maximum", "a duration such as 90m or 1d12h"},
    {"grants.require_reason", "true or false"},
    {"grants.on_expiry", "soft, cut or kill"},
    {"grants.soft_grace", "a duration such as 90m or 1d12h"},
    {"grants.kill_grace", "a duration such as 90m or 1d12h"},
    {"grants.request_ttl", "a duration such as 90m or 1d12h"},
    {"grants.max_pending_per_user", "a whole number from 0 to 1000"},
    {"notices.denied_text", "a text"},
    {"audit.limit", "a whole number from 0 to 100000"},
    {"audit.window", "a duration such as 90m or 1d12h"},
    {"audit.journald", "true or false"},
    {"audit.json", "a path such as /var/log/ds01/audit.jsonl, or \"\" for no file"},
    {"quota.limits", "a path such as /etc/ds01/resource-limits.yaml"},
    {"quota.warn_at", "a number above 0, at most 1"},
};

constexpr Expectation kLists[] = {
    {"devices", "a list of device rules"},
    {"allow.cgroups", "a list of cgroups such as [/ds01.slice]"},
    {"exempt.users", "a list of users such as [alice]"},
    {"exempt.groups", "a list of groups such as [staff]"},
    {"exempt.cgroups", "a list of cgroups such as [/ds01.slice]"},
    {"exempt.rules", "a list of {cgroup: …, user: …} or {cgroup: …, group: …}"},
    {"deny.users", "a list of users such as [alice]"},
    {"admin.users", "a list of users such as [alice]"},
    {"admin.groups", "a list of groups such as [staff]"},
    {"grants.auto_approve", "a list of {group: …, up_to: …}"},
    {"notices.before_end", "a list of durations such as [1h, 10m]"},
};

constexpr std::string_view kMaps[] = {"gates",  "allow",   "exempt", "deny",  "admin",
                                      "grants", "notices", "audit",  "quota", "grants.maximum_by_group"};

TEST_F(ConfigTest, ListOrMapInPlaceOfAScalarIsRefused) {
  for (const auto& row : kScalars) {
    EXPECT_EQ(bad_value(row.key, "[1]"), fmt::format("expected {}, found a list", row.expected));
    EXPECT_EQ(bad_value(row.key, "{a: 1}"), fmt::format("expected {}, found a map", row.expected));
  }
}

TEST_F(ConfigTest, ScalarOrMapInPlaceOfAListIsRefused) {
  for (const auto& row : kLists) {
    EXPECT_EQ(bad_value(row.key, "x"), fmt::format("expected {}, found a single value", row.expected));
    EXPECT_EQ(bad_value(row.key, "{a: 1}"), fmt::format("expected {}, found a map", row.expected));
  }
}

TEST_F(ConfigTest, ScalarOrListInPlaceOfAMapIsRefused) {
  for (const auto key : kMaps) {
    EXPECT_EQ(bad_value(key, "x"), "expected keys and values such as 'mode: monitoring', found a single value");
    EXPECT_EQ(bad_value(key, "[a]"), "expected keys and values such as 'mode: monitoring', found a list");
  }
}

// "key:" and "key: ~" are null, as is a section whose every line is commented out.
TEST_F(ConfigTest, KeyWithoutValueIsRefused) {
  for (const auto value : {"", "~", "null"}) {
    for (const auto& row : kScalars)
      EXPECT_EQ(bad_value(row.key, value), fmt::format("has no value; expected {}, or leave it out", row.expected));
    for (const auto& row : kLists)
      EXPECT_EQ(bad_value(row.key, value), fmt::format("has no value; expected {}, or leave it out", row.expected));
    for (const auto key : kMaps)
      EXPECT_EQ(bad_value(key, value),
                "has no value; expected keys and values such as 'mode: monitoring', or leave it out");
  }
}

TEST_F(ConfigTest, KeyWithoutValueIsReportedInItsOwnLine) {
  EXPECT_THAT(bad("version: 1\nmode:\n\n\ntelemetry: deny\n"), StartsWith("agent.yaml:2: mode: has no value"));
}

TEST_F(ConfigTest, WrongTypeInsideAListIsRefused) {
  EXPECT_EQ(bad("deny:\n  users:\n  - a\n  - [b]\n"),
            "agent.yaml:4: deny.users[1]: expected a user name, found a list");
  EXPECT_EQ(bad("allow:\n  cgroups: [~]\n"),
            "agent.yaml:2: allow.cgroups[0]: has no value; expected a cgroup such as /ds01.slice, or leave it out");
  EXPECT_EQ(bad("devices:\n  - gpu\n"),
            "agent.yaml:2: devices[0]: expected keys and values such as 'mode: monitoring', found a single value");
  EXPECT_EQ(bad("notices:\n  before_end: [1h, {a: b}]\n"),
            "agent.yaml:2: notices.before_end[1]: expected a duration such as 90m or 1d12h, found a map");
}

// ---- Values

// Each "== NAME" of data/bad_values.txt is a test; a row is the YAML, " -> " and the message after "agent.yaml:LINE: ".
struct BadValues {
  struct Row {
    int line;
    std::string yaml;
    std::string message;
  };
  std::string name;
  std::vector<Row> rows;
};

std::vector<BadValues> read_bad_values() {
  std::ifstream file(source_root() / "tests" / "unit" / "data" / "bad_values.txt");
  std::vector<BadValues> tests;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const auto arrow = line.find(" -> ");
    if (line.starts_with("== ")) tests.push_back({line.substr(3), {}});
    if (arrow != line.npos && !line.starts_with('#'))
      tests.back().rows.push_back({number, line.substr(0, arrow), line.substr(arrow + 4)});
  }
  return tests;
}

class BadValuesTest : public ConfigTest, public ::testing::WithParamInterface<BadValues> {};

TEST_P(BadValuesTest, AreRefused) {
  EXPECT_THAT(GetParam().rows, Not(IsEmpty()));
  for (const auto& row : GetParam().rows)
    EXPECT_EQ(bad(std::string(static_cast<std::size_t>(row.line - 1), '\n') + row.yaml + "\n"),
              fmt::format("agent.yaml:{}: {}", row.line, row.message));
}

// Without the file the suite is empty, and GoogleTest reports a parameterized suite without instances as a failure.
INSTANTIATE_TEST_SUITE_P(Config, BadValuesTest, ::testing::ValuesIn(read_bad_values()),
                         [](const auto& test) { return test.param.name; });

TEST_F(ConfigTest, BadValuesOfSeveralLinesAreReportedInTheirOwn) {
  EXPECT_THAT(bad("grants:\n  require_reason: true\n  maximum: 1h\n"), StartsWith("agent.yaml:3: grants.maximum: "));
  EXPECT_THAT(bad("allow:\n  cgroups:\n  - /a\n  - b\n"), StartsWith("agent.yaml:4: allow.cgroups[1]: "));
  EXPECT_THAT(bad("devices:\n- class: gpu\n  major: 195\n  minors: 9-1\n"),
              StartsWith("agent.yaml:4: devices[0].minors: "));
  EXPECT_THAT(bad("version: 1\ngrants:\n  maximum_by_group:\n    a: 1h\n    b: 1\n"),
              StartsWith("agent.yaml:5: grants.maximum_by_group.b: "));
}

// The keys of one section come in any order, so this is looked at when all are read.
TEST_F(ConfigTest, AutoApprovalAboveItsMaximumIsReportedInItsOwnLine) {
  EXPECT_EQ(bad("grants:\n  auto_approve:\n  - {group: a, up_to: 1h}\n  - {group: b, up_to: 3h}\n  maximum: 2h\n"
                "  default: 1h\n"),
            "agent.yaml:4: grants.auto_approve[1]: up_to (3h) must not be above grants.maximum (2h)");
  EXPECT_EQ(bad("grants:\n  maximum_by_group: {a: 1h}\n  auto_approve: [{group: a, up_to: 2h}]\n"),
            "agent.yaml:3: grants.auto_approve[0]: up_to (2h) must not be above grants.maximum_by_group.a (1h)");
}

TEST_F(ConfigTest, ValuesAtTheirLimitsAreAccepted) {
  EXPECT_EQ(good("grants: {auto_approve: [{group: a, up_to: 7d}]}\n").grants.auto_approve.size(), 1U);
  EXPECT_EQ(good("grants: {max_pending_per_user: 0}\n").grants.max_pending_per_user, 0U);
  EXPECT_EQ(good("notices: {before_end: [1s, 2s, 3s, 4s, 5s, 6s, 7s, 8s, 9s, 10s]}\n").notices.before_end.size(), 10U);
  EXPECT_EQ(good("grants: {default: 1h, maximum: 1h}\n").grants.maximum, 1h);
  EXPECT_EQ(good("audit: {limit: 100000}\n").audit.limit, 100000U);
  EXPECT_THAT(good("exempt: {users: ['domain users', 'D\\u', uid:4294967294]}\n").exempt_users,
              ElementsAre("domain users", "D\\u", "uid:4294967294"));
  EXPECT_EQ(bad_value("notices.denied_text", std::string(2001, 'x')), "longer than 2000 bytes");
  EXPECT_THAT(good("notices:\n  denied_text: |\n    Ask Eve.\n    Or Bob.\n").without_effect,
              ElementsAre("notices.denied_text"));
}

// ---- Devices

TEST_F(ConfigTest, MinorsIncludeBothEndsOfTheRange) {
  const auto rule = good("devices: [{class: gpu, major: 4095, minors: 7-1048575}]\n").devices.front();
  EXPECT_EQ(rule, (DeviceRule{DeviceClass::gpu, 4095U, 7, 1048575, false, rule.where}));
  EXPECT_EQ(good("devices: [{class: gpu, major: 195, minors: 7}]\n").devices.front().last_minor, 7U);
}

TEST_F(ConfigTest, VendorStandsInPlaceOfAMajor) {
  const auto rule = good("devices: [{class: dri, vendor: 0x10de}]\n").devices.front();
  EXPECT_EQ(rule, (DeviceRule{DeviceClass::dri, Vendor{0x10de}, 0, 1048575, false, rule.where}));
  EXPECT_EQ(bad_device("", "{class: dri, vendor: 0x10de, major: 226}"),
            "has both 'major' and 'vendor'; write a rule for each");
  for (const auto key : {"minors: 0", "index: minor", "index: none"})
    EXPECT_EQ(bad_device("", fmt::format("{{class: dri, vendor: 0x10de, {}}}", key)),
              "'minors' and 'index' go with 'major' only: a vendor's nodes are gated all, with the index of their GPU");
}

TEST_F(ConfigTest, TwoRulesForTheSameNodeAreRefused) {
  EXPECT_EQ(bad("devices:\n- {class: gpu, major: 195, minors: 0-254}\n- {class: dri, major: 226}\n"
                "- {class: control, major: 195, minors: 254-255}\n"),
            "agent.yaml:4: devices[2]: covers device nodes that devices[0] covers already");
  EXPECT_EQ(good("devices: [{class: gpu, major: 195, minors: 0}, {class: gpu, major: x, minors: 0}]\n").devices.size(),
            2U);
}

TEST_F(ConfigTest, TwoRulesForOneVendorAreRefused) {
  EXPECT_EQ(bad("devices:\n- {class: dri, vendor: 0x10de}\n- {class: dri, vendor: 0x8086}\n"
                "- {class: compute, vendor: 0x10DE}\n"),
            "agent.yaml:4: devices[2]: covers device nodes that devices[0] covers already");
}

// Every node of the drivers that users' programs open.
TEST_F(ConfigTest, BuiltInRulesCoverThreeVendors) {
  std::vector<std::string> rules;
  for (const auto& rule : default_devices()) {
    const auto* name = std::get_if<std::string>(&rule.nodes);
    const auto* vendor = std::get_if<Vendor>(&rule.nodes);
    if (name != nullptr) rules.push_back(fmt::format("{} {}", to_string(rule.device_class), *name));
    if (vendor != nullptr) rules.push_back(fmt::format("{} {:#x}", to_string(rule.device_class), vendor->id));
  }
  EXPECT_THAT(rules, ElementsAre("compute nvidia-uvm", "compute nvidia-fs", "compute gdrdrv", "capability nvidia-caps",
                                 "capability nvidia-caps-imex-channels", "fabric nvidia-nvswitch",
                                 "fabric nvidia-nvlink", "dri 0x10de", "compute kfd", "dri 0x1002", "dri 0x8086"));
}

// The names differ between drivers; the number does not, and is gated before the driver is loaded too.
TEST_F(ConfigTest, BuiltInRulesCoverAllOfNvidiasFirstMajorByNumber) {
  std::vector<bool> covered(256);
  for (const auto& rule : default_devices())
    if (rule.nodes == decltype(rule.nodes)(195U))
      for (auto minor = rule.first_minor; minor <= rule.last_minor; ++minor) covered[minor] = true;
  EXPECT_THAT(covered, testing::Each(true));
}

}  // namespace
}  // namespace ds01::config
