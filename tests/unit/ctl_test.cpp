// SPDX-License-Identifier: Apache-2.0
// Tables and views: what a person reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "ctl/table.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// ---- tables

TEST(DisplayWidth, CountsCharactersNotBytes) {
  EXPECT_EQ(display_width(""), 0U);
  EXPECT_EQ(display_width("abc"), 3U);
  EXPECT_EQ(display_width("größe"), 5U);
  EXPECT_EQ(display_width("🙂…"), 2U);
}

TEST(Render, ColumnsAreAsWideAsTheyNeed) {
  EXPECT_EQ(render({{"ID", "WHO"}, {{"g-1", "größe"}, {"g-1000", "x"}}, {}}, {}),
            "ID      WHO\n"
            "g-1     größe\n"
            "g-1000  x\n");
}

TEST(Render, CellsBehindUtf8AreAligned) {
  EXPECT_EQ(render({{"A", "B"}, {{"öö", "1"}, {"aaa", "2"}}, {}}, {}), "A    B\nöö   1\naaa  2\n");
}

TEST(Render, LegendOffLeavesTheRowsOnly) {
  TableStyle style;
  style.legend = false;
  EXPECT_EQ(render({{"LONG HEADER", "B"}, {{"a", "b"}}, {}}, style), "a            b\n");
  EXPECT_EQ(render({{"A"}, {}, {}}, style), "");
}

TEST(Render, BoldIsForTheHeaderOnly) {
  TableStyle style;
  style.bold = true;
  EXPECT_EQ(render({{"A", "B"}, {{"a", "b"}}, {}}, style), "\033[1mA  B\033[0m\na  b\n");
}

TEST(Render, ControlCharactersDoNotReachTheTerminal) {
  const auto out = render({{"A", "B"},
                           {{"a\x1b[2Jb", "\x7f\t\n"},
                            {"\xc2\x9b"
                             "2J",
                             "x"}},
                           {}},
                          {});
  EXPECT_EQ(out, "A       B\na?[2Jb  ???\n?2J     x\n");
}

TEST(Render, FlexibleColumnShrinksFirst) {
  TableStyle style;
  style.width = 20;
  const auto out = render({{"ID", "REASON"}, {{"g-1", "a reason that is too long"}}, 1}, style);
  EXPECT_EQ(out, "ID   REASON\ng-1  a reason that …\n");
  std::istringstream in(out);
  for (std::string line; std::getline(in, line);) EXPECT_LE(display_width(line), 20U);
}

TEST(Render, CutKeepsCharactersWhole) {
  TableStyle style;
  style.width = 15;
  EXPECT_EQ(render({{"I", "R"}, {{"1", "öööööööööööööööö"}}, 1}, style), "I  R\n1  ööööööööööö…\n");
}

TEST(Render, FlexibleColumnKeepsTenCharacters) {
  TableStyle style;
  style.width = 3;
  EXPECT_EQ(render({{"I", "R"}, {{"12345", "abcdefghijklmnop"}}, 1}, style), "I      R\n12345  abcdefghi…\n");
}

TEST(Render, TextThatFitsIsNotCut) {
  TableStyle style;
  style.width = 15;
  EXPECT_EQ(render({{"I", "R"}, {{"1", "abcdefghijkl"}}, 1}, style), "I  R\n1  abcdefghijkl\n");
}

TEST(Render, WithoutAFlexibleColumnNothingIsCut) {
  TableStyle style;
  style.width = 3;
  EXPECT_EQ(render({{"A"}, {{"abcdefghijklmnop"}}, {}}, style), "A\nabcdefghijklmnop\n");
}

// ---- views

boost::json::value grant(std::string_view change = "{}") {
  auto value = boost::json::parse(
      R"({"id": "g-7", "subject": {"kind": "user", "name": "alice", "uid": 1000},
          "gpus": [{"index": 0, "uuid": "GPU-a"}, {"index": 2, "uuid": null}], "caps": [],
          "created_at": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T13:30:00Z", "remaining_s": 5400,
          "on_expiry": "cut", "granted_by": {"uid": 0, "name": "root", "login_uid": 1002}, "reason": "thesis",
          "state": "active"})");
  const auto changes = boost::json::parse(boost::json::string_view(change.data(), change.size()));
  for (const auto& field : changes.as_object()) value.as_object()[field.key()] = field.value();
  return value;
}

TEST(GrantsView, RowsAndFooter) {
  const boost::json::array grants{
      grant(), grant(R"({"id": "g-8", "subject": {"kind": "cgroup", "path": "/job"}, "gpus": "all", "expires_at": null,
                         "remaining_s": null, "reason": ""})"),
      grant(R"({"id": "g-9", "state": "revoked"})")};
  EXPECT_EQ(grants_view(grants, {}),
            "ID   SUBJECT      GPUS  LEFT       ENDS                  BY    REASON\n"
            "g-7  alice        0,2   1h30m      2026-03-01T13:30:00Z  root  thesis\n"
            "g-8  cgroup:/job  all   permanent  -                     root\n"
            "g-9  alice        0,2   revoked    2026-03-01T13:30:00Z  root  thesis\n"
            "\n3 grants\n");
}

TEST(GrantsView, CapsStandBesideTheGpus) {
  const auto caps = R"({"caps": ["nvidia-cap30", "imex-channel0"]})";
  EXPECT_THAT(grants_view({grant(caps)}, {}), HasSubstr("alice    0,2,nvidia-cap30,imex-channel0  1h30m"));
  EXPECT_THAT(grant_view(grant(caps)), HasSubstr("may use GPU 0,2 and nvidia-cap30,imex-channel0\n"));
}

TEST(GrantsView, LegendOffHasNoFooter) {
  TableStyle style;
  style.legend = false;
  EXPECT_EQ(grants_view({}, style), "");
  EXPECT_THAT(grants_view({}, {}), HasSubstr("0 grants"));
  EXPECT_THAT(grants_view({grant()}, {}), HasSubstr("1 grant\n"));
}

TEST(GrantView, SaysEverything) {
  EXPECT_EQ(grant_view(grant()),
            "g-7: alice may use GPU 0,2\n"
            "  ends        2026-03-01T13:30:00Z (1h30m, then cut)\n"
            "  granted by  root on 2026-03-01T12:00:00Z\n"
            "  reason      thesis\n");
  EXPECT_THAT(grant_view(grant(R"({"gpus": "all"})")), HasSubstr("may use all GPUs\n"));
}

// Names, paths and reasons are other people's text.
TEST(Views, ControlCharactersDoNotReachTheTerminal) {
  const auto hostile =
      grant(R"({"reason": "\u001b[2J\u009b2J", "subject": {"kind": "cgroup", "path": "/\u001b]0;x\u0007"},
                                 "granted_by": {"name": "\u001bc"}})");
  const auto caller = boost::json::parse(R"({"user": "\u001b[2J", "why": "\u009b", "grant": null})");
  const auto status =
      boost::json::parse(R"({"attached": false, "reason": "\u001b[2J", "gates": {"\u001b[2J": {"mode": "\u001b"}}})");
  const auto request = boost::json::parse(R"({"id": "\u001b", "user": {"name": "\u009b"}, "gpus": "\u001b[2J",
      "reason": "\u001b", "state": "denied", "answer": "\u009b2J"})");
  const auto notice = boost::json::parse(R"({"time": "\u001b", "text": "a\n\u001b[2J\u009b"})");
  auto ended = hostile;
  ended.as_object()["how"] = "\x1b";
  ended.as_object()["end_reason"] = "\x1b[2J";
  for (const auto& text :
       {grant_view(hostile), grants_view({hostile}, {}), whoami_view(caller), status_view(status),
        history_view({ended}, {}), requests_view({request}, {}), request_view(request), notices_view({notice})}) {
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
  }
}

TEST(HistoryView, SaysWhoWhyHowLongAndHowItEnded) {
  const boost::json::array grants{
      grant(R"({"state": "revoked", "ended_at": "2026-03-01T12:30:00Z", "lasted_s": 1800, "how": "revoked",
                "ended_by": {"uid": 0, "name": "carol", "login_uid": null}, "end_reason": "maintenance"})"),
      grant(R"({"id": "g-8", "state": "expired", "ended_at": "2026-03-01T13:30:00Z", "lasted_s": 5400, "how": "expired",
                "ended_by": null, "end_reason": ""})")};
  EXPECT_EQ(
      history_view(grants, {}),
      "ID   SUBJECT  GPUS  GRANTED               LASTED  ENDED                 HOW                            BY  "
      "  REASON\n"
      "g-7  alice    0,2   2026-03-01T12:00:00Z  30m     2026-03-01T12:30:00Z  revoked by carol: maintenance  "
      "root  thesis\n"
      "g-8  alice    0,2   2026-03-01T12:00:00Z  1h30m   2026-03-01T13:30:00Z  expired                        "
      "root  thesis\n"
      "\n2 grants\n");
}

boost::json::value request(std::string_view change = "{}") {
  auto value = boost::json::parse(
      R"({"id": "r-3", "user": {"name": "alice", "uid": 1000}, "duration_s": 5400, "gpus": "0,2", "reason": "thesis",
          "created_at": "2026-03-01T12:00:00Z", "lapses_at": "2026-03-02T12:00:00Z", "state": "pending",
          "decided_at": null, "decided_by": null, "answer": "", "grant_id": null})");
  const auto changes = boost::json::parse(boost::json::string_view(change.data(), change.size()));
  for (const auto& field : changes.as_object()) value.as_object()[field.key()] = field.value();
  return value;
}

TEST(RequestsView, RowsAndFooter) {
  const boost::json::array requests{request(),
                                    request(R"({"id": "r-4", "gpus": "all", "lapses_at": null, "state": "denied"})")};
  EXPECT_EQ(requests_view(requests, {}),
            "ID   USER   FOR    GPUS  ASKED                 LAPSES                STATE    REASON\n"
            "r-3  alice  1h30m  0,2   2026-03-01T12:00:00Z  2026-03-02T12:00:00Z  pending  thesis\n"
            "r-4  alice  1h30m  all   2026-03-01T12:00:00Z  -                     denied   thesis\n"
            "\n2 requests\n");
  TableStyle style;
  style.legend = false;
  EXPECT_EQ(requests_view({}, style), "");
}

TEST(RequestView, SaysWhatBecameOfIt) {
  EXPECT_EQ(request_view(request()), "r-3: asked for 1h30m on GPU 0,2; an admin has to approve it\n");
  EXPECT_EQ(request_view(request(R"({"state": "denied", "answer": "not this week"})")),
            "r-3: alice asked for 1h30m on GPU 0,2, denied: not this week\n");
  auto approved = request(R"({"state": "approved"})");
  approved.as_object()["grant"] = grant();
  EXPECT_EQ(request_view(approved), grant_view(grant()));
}

TEST(NoticesView, LinesAreKeptApart) {
  EXPECT_EQ(notices_view({}), "");
  const auto notices = boost::json::parse(R"([{"number": 1, "time": "2026-03-01T12:00:00Z", "text": "one\ntwo"}])");
  EXPECT_EQ(notices_view(notices.as_array()), "2026-03-01T12:00:00Z one\n  two\n");
}

TEST(DenialsView, RowsInColumns) {
  const auto rows = boost::json::parse(R"([{"user": "alice", "uid": 1000, "class": "gpu", "hook": "open", "count": 12,
      "would_deny_count": 0, "first_at": "2026-03-01T12:00:00Z", "last_at": null}])");
  EXPECT_EQ(denials_view(rows.as_array(), {}),
            "USER   CLASS  HOOK  DENIED  WOULD DENY  FIRST                 LAST\n"
            "alice  gpu    open  12      0           2026-03-01T12:00:00Z  -\n");
}

TEST(ModeView, OverrideSaysHowLongAndWhatIsConfigured) {
  EXPECT_EQ(mode_view(boost::json::parse(R"({"gpu": {"mode": "full", "configured_mode": "full", "until": null}})")),
            "gpu: full\n");
  EXPECT_EQ(mode_view(boost::json::parse(
                R"({"gpu": {"mode": "disabled", "configured_mode": "full", "until": "2026-03-01T13:00:00Z"}})")),
            "gpu: disabled until 2026-03-01T13:00:00Z (configured: full)\n");
}

boost::json::value status(bool attached) {
  auto value = boost::json::parse(
      R"({"version": "0.1.0", "backend": null, "attached": false, "reason": "no bpf in the LSM list",
          "recursion_misses_total": 0, "gates": {"gpu": {"mode": "full", "configured_mode": "full", "until": null}},
          "grants_active": 3, "denials_total": 5, "would_deny_total": 6, "events_lost_total": 7,
          "events_limited_total": 8, "audit_lines_lost_total": 9, "started_at": "2026-03-01T12:00:00Z"})");
  if (attached) {
    value.as_object()["attached"] = true;
    value.as_object()["backend"] = "bpf_lsm";
  }
  return value;
}

TEST(HoldersView, ProcessesWithWhatAnOpenWouldGet) {
  const auto rows = boost::json::parse(
      R"([{"pid": 4711, "comm": "python3\u001b", "user": "alice", "uid": 1000, "cgroup": "/user.slice",
           "devices": ["gpu0", "control"], "fds": 3, "maps": 1, "since": "2026-03-01T11:58:20Z", "grant_id": null,
           "allowed": false, "why": "no grant"}])");
  EXPECT_EQ(holders_view(rows.as_array(), {}),
            "PID   COMMAND   USER   DEVICES       FDS  MAPS  SINCE                 OPEN NOW          GRANT  CGROUP\n"
            "4711  python3?  alice  gpu0,control  3    1     2026-03-01T11:58:20Z  denied: no grant  -      "
            "/user.slice\n"
            "\n1 process\n");
}

TEST(ExplainView, LayerThatDecidesIsFirstAndWhatToTypeIsLast) {
  const auto one = boost::json::parse(
      R"({"user": "alice", "pid": null, "comm": "", "device": {"name": "gpu0", "rule": "built-in default"},
          "allowed": false, "decided_by": "gate", "why": "no grant", "next": "ds01ctl request 24h --reason TEXT",
          "layers": [{"layer": "node", "verdict": "allows", "why": "crw-rw-rw-"},
                     {"layer": "device_cgroup", "verdict": "may_deny", "why": "restricted"},
                     {"layer": "gate", "verdict": "denies", "why": "no grant"}]})");
  EXPECT_EQ(explain_view(one),
            "alice may not open gpu0: no grant\n"
            "  gate          denies: no grant\n"
            "  node          allows: crw-rw-rw-\n"
            "  device cgroup may deny: restricted\n"
            "  gated by      built-in default\n"
            "next: ds01ctl request 24h --reason TEXT\n");
  auto process = one;
  process.as_object()["pid"] = 5;
  process.as_object()["comm"] = "sh\x1b";
  process.as_object()["allowed"] = true;
  process.as_object()["next"] = "";
  EXPECT_THAT(explain_view(process), ::testing::StartsWith("alice (sh?, pid 5) may open gpu0: "));
  EXPECT_THAT(explain_view(process), Not(HasSubstr("next:")));
}

TEST(StatusView, GateOpenIsLoud) {
  EXPECT_THAT(status_view(status(false)), ::testing::StartsWith("NOT ENFORCING: no bpf in the LSM list"));
}

TEST(StatusView, GateAttachedNamesBackendAndCounts) {
  EXPECT_EQ(status_view(status(true)),
            "enforcing with bpf_lsm, ds01d 0.1.0, since 2026-03-01T12:00:00Z\n"
            "gpu: full\n"
            "grants: 3   denied: 5   would deny: 6\n"
            "events lost: 7   not logged (user's limit): 8   recursion misses: 0   audit lines lost: 9\n");
}

TEST(StatusView, BackendThatIsNotTheBestSaysWhyAndWhatIsMissing) {
  auto one = status(true);
  one.as_object()["backend_reason"] = "the LSM list lacks 'bpf'";
  one.as_object()["best_effort_hooks"] = {"ioctl", "mmap"};
  one.as_object()["missing_hooks"] = {"receive"};
  EXPECT_THAT(status_view(one), HasSubstr("\nno better backend: the LSM list lacks 'bpf'\n"
                                          "best effort: ioctl,mmap (the kernel skips a program that was preempted)\n"
                                          "NOT GATED: receive\n"));
  one.as_object()["recursion_misses_total"] = 3;
  EXPECT_THAT(status_view(one),
              HasSubstr("\nHOLE IN THE GATE: the kernel skipped its programs 3 times; see the log\n"));
}

TEST(StatusView, WhatNeedsAttentionHasItsOwnLine) {
  auto one = status(true);
  one.as_object()["store"] = {{"ok", true}, {"error", nullptr}};
  one.as_object()["requests_pending"] = 0;
  one.as_object()["grants_suspended"] = 0;
  EXPECT_EQ(status_view(one), status_view(status(true)));
  one.as_object()["store"] = {{"ok", false}, {"error", "ds01.db is corrupt: restore it"}};
  one.as_object()["requests_pending"] = 2;
  one.as_object()["grants_suspended"] = 1;
  EXPECT_THAT(status_view(one), HasSubstr("\nSTORE BROKEN: ds01.db is corrupt: restore it\n"));
  EXPECT_THAT(status_view(one), HasSubstr("\ngrants: 3   suspended: 1   denied: 5"));
  EXPECT_THAT(status_view(one), HasSubstr("\n2 requests wait: ds01ctl requests\n"));
  one.as_object()["requests_pending"] = 1;
  EXPECT_THAT(status_view(one), HasSubstr("\n1 request waits: ds01ctl requests\n"));
}

TEST(WhoamiView, WithAndWithoutGrant) {
  auto caller =
      boost::json::parse(R"({"user": "alice", "uid": 1000, "access": "denied", "why": "no grant", "grant": null})");
  EXPECT_EQ(whoami_view(caller), "alice (uid 1000): GPU access on this host is denied: no grant\n");
  caller.as_object()["grant"] = grant();
  EXPECT_THAT(whoami_view(caller), HasSubstr("\ng-7: alice may use GPU 0,2\n"));
}

}  // namespace
}  // namespace ds01::ctl
