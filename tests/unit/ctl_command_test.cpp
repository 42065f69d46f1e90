// SPDX-License-Identifier: Apache-2.0
// The commands: what they ask the agent for, and what they print. The agent is a server that says what it is told to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "core/fd.h"
#include "ctl/commands.h"
#include "fakes.h"
#include "http/http.h"

namespace ds01::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr auto kGrant = R"({"id": "g-4", "subject": {"kind": "user", "name": "alice", "uid": 1000}, "gpus": "all",
    "created_at": "2026-03-01T12:00:00Z", "expires_at": "2026-03-02T12:00:00Z", "remaining_s": 86400,
    "on_expiry": "cut", "granted_by": {"name": "root"}, "reason": "", "state": "active"})";

std::string request_json(const std::string& state, const std::string& grant = "null") {
  return R"({"id": "r-3", "user": {"name": "alice", "uid": 1000}, "duration_s": 86400, "gpus": "all", "reason": "x",
             "answer": "too long", "state": ")" +
         state + R"(", "grant": )" + grant + "}";
}

class CommandTest : public ::testing::Test {
 protected:
  ~CommandTest() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  // The agent that answers with these, one after the other, on this socket.
  void serve(std::vector<http::Response> answers, const std::string& socket = "agent.sock") {
    answers_ = std::move(answers);
    auto listener = http::listen_unix(folder_.path() / socket, 0600, ::getgid());
    ASSERT_TRUE(listener) << listener.error().message;
    server_ = std::make_unique<http::Server>(
        io_, std::move(*listener), http::Limits{},
        [this](const http::Peer&, const http::Request& request) { return answer(request); },
        [](const http::Rejection&) {});
    thread_ = std::thread([this] { io_.run(); });
  }

  // Runs ds01ctl with these arguments; what it printed.
  std::string run(const std::vector<std::string>& arguments, bool json = false) {
    CLI::App app;
    Context context{Client(folder_.path()), json, {}};
    std::optional<Status> outcome;
    add_commands(app, context, outcome);
    ::testing::internal::CaptureStdout();
    usage_.clear();
    try {
      app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
      usage_ = error.what();
    }
    outcome_ = outcome.value_or(Status{});
    std::fflush(stdout);
    return ::testing::internal::GetCapturedStdout();
  }

  // "METHOD PATH?QUERY BODY" of each request.
  std::vector<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  fake::Folder folder_;
  Status outcome_;
  std::string usage_;

 private:
  http::Response answer(const http::Request& request) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(request.method + " " + request.path + (request.query.empty() ? "" : "?" + request.query) +
                     (request.body.empty() ? "" : " " + request.body));
    if (asked_.size() > answers_.size()) return {500, "{}"};
    return answers_[asked_.size() - 1];
  }

  std::vector<http::Response> answers_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  boost::asio::io_context io_;
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

// ---- what is asked for

struct Asking {
  std::vector<std::string> arguments;
  std::string request;
  std::string answer;
};

void PrintTo(const Asking& asking, std::ostream* out) { *out << asking.request; }

class CommandAsks : public CommandTest, public ::testing::WithParamInterface<Asking> {};

TEST_P(CommandAsks, OneRequest) {
  serve({{200, GetParam().answer}});
  run(GetParam().arguments);
  EXPECT_EQ(usage_, "");
  EXPECT_EQ(fake::message(outcome_), "");
  EXPECT_THAT(asked(), ElementsAre(GetParam().request));
}

INSTANTIATE_TEST_SUITE_P(
    Table, CommandAsks,
    ::testing::Values(
        Asking{
            {"grant", "alice", "1h"}, R"(POST /v1/grants {"subject":"alice","gpus":"all","duration_s":3600})", kGrant},
        Asking{{"grant", "alice", "--caps", "nvidia-cap30,mig/config"},
               R"(POST /v1/grants {"subject":"alice","gpus":"all","caps":"nvidia-cap30,mig/config"})",
               kGrant},
        Asking{{"grant", "uid:5", "permanent", "--gpus", "0,2"},
               R"(POST /v1/grants {"subject":"uid:5","gpus":"0,2","permanent":true})",
               kGrant},
        Asking{{"revoke", "alice", "--reason", "a b"}, "DELETE /v1/grants/alice?reason=a%20b", kGrant},
        Asking{{"extend", "g-4", "90m"}, R"(POST /v1/grants/g-4/extend {"duration_s":5400})", kGrant},
        Asking{{"extend", "cgroup:/a/b", "1d"}, R"(POST /v1/grants/cgroup:/a/b/extend {"duration_s":86400})", kGrant},
        Asking{{"show", "alice"}, "GET /v1/grants/alice", kGrant}, Asking{{"history"}, "GET /v1/history", "[]"},
        Asking{{"history", "--user", "alice", "--since", "2026-03-01T00:00:00Z", "--limit", "5"},
               "GET /v1/history?user=alice&since=2026-03-01T00%3A00%3A00Z&limit=5",
               "[]"},
        Asking{{"request", "--reason", "thesis"},
               R"(POST /v1/requests {"gpus":"all","reason":"thesis"})",
               request_json("pending")},
        Asking{{"request", "24h", "--gpus", "0", "--reason", "thesis"},
               R"(POST /v1/requests {"gpus":"0","reason":"thesis","duration_s":86400})",
               request_json("pending")},
        Asking{{"requests"}, "GET /v1/requests", "[]"},
        Asking{{"requests", "--all"}, "GET /v1/requests?all=true", "[]"},
        Asking{{"approve", "r-3"}, "POST /v1/requests/r-3/approve {}", request_json("approved", kGrant)},
        Asking{{"approve", "r-3", "1h"},
               R"(POST /v1/requests/r-3/approve {"duration_s":3600})",
               request_json("approved", kGrant)},
        Asking{
            {"deny", "r-3", "--reason", "no"}, R"(POST /v1/requests/r-3/deny {"reason":"no"})", request_json("denied")},
        Asking{{"mode", "disabled", "--for", "1h"},
               R"(PUT /v1/mode {"gate":"gpu","mode":"disabled","for_s":3600})",
               R"({"gpu": {}})"},
        Asking{{"explain", "alice"}, "GET /v1/explain?user=alice", "{}"},
        Asking{{"explain", "uid:5", "gpu1"}, "GET /v1/explain?user=uid%3A5&device=gpu1", "{}"},
        Asking{{"explain", "4711", "/dev/nvidiactl"}, "GET /v1/explain?pid=4711&device=%2Fdev%2Fnvidiactl", "{}"},
        Asking{{"holders"}, "GET /v1/holders", "[]"},
        Asking{{"holders", "/dev/nvidia0"}, "GET /v1/holders?device=%2Fdev%2Fnvidia0", "[]"},
        Asking{{"denials", "--user", "bob"}, "GET /v1/denials?user=bob", "[]"}));

TEST_F(CommandTest, AdminSocketIsAskedFirst) {
  serve({{200, "[]"}}, "admin.sock");
  EXPECT_THAT(run({"requests"}), HasSubstr("0 requests"));
}

TEST_F(CommandTest, ListsAreFetchedToTheLastPage) {
  http::Response first{200, "[{}]"};
  first.next_cursor = "7";
  serve({first, {200, "[{}]"}});
  EXPECT_THAT(run({"requests"}), HasSubstr("2 requests"));
  EXPECT_THAT(asked(), ElementsAre("GET /v1/requests", "GET /v1/requests?cursor=7"));
}

// ---- what is wrong before anything is asked

TEST_F(CommandTest, UsageWrongAsksNothing) {
  serve({});
  const std::vector<std::string> table[] = {
      {"extend", "alice"},
      {"extend"},
      {"explain"},
      {"holders", "gpu0", "gpu1"},
      {"request"},
      {"request", "1h"},
      {"approve"},
      {"deny", "r-3"},
      {"deny"},
      {"requests", "r-3"},
      {"history", "x"},
      {"whoami", "alice"},
      {"approve", "a", "1h", "x"},
  };
  for (const auto& arguments : table) {
    run(arguments);
    EXPECT_NE(usage_, "") << arguments[0];
  }
  EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(CommandTest, TimesWrongAskNothing) {
  serve({});
  const std::vector<std::string> table[] = {
      {"extend", "alice", "5"}, {"extend", "alice", "permanent"},    {"request", "0h", "--reason", "x"},
      {"approve", "r-3", "1y"}, {"history", "--since", "yesterday"},
  };
  for (const auto& arguments : table) {
    run(arguments);
    EXPECT_EQ(fake::code(outcome_), ErrorCode::invalid) << arguments[0];
  }
  EXPECT_THAT(asked(), IsEmpty());
}

// ---- what is printed

TEST_F(CommandTest, RequestThatWaitsSaysWhatNow) {
  serve({{201, request_json("pending")}});
  EXPECT_EQ(run({"request", "--reason", "x"}), "r-3: asked for 1d on all GPUs; an admin has to approve it\n");
}

TEST_F(CommandTest, RequestApprovedAtOnceShowsTheGrant) {
  serve({{201, request_json("approved", kGrant)}});
  EXPECT_THAT(run({"request", "--reason", "x"}), StartsWith("g-4: alice may use all GPUs\n"));
}

TEST_F(CommandTest, JsonIsPrintedAsItCame) {
  serve({{200, R"([{"id": "r-3"}])"}});
  EXPECT_EQ(run({"requests"}, true), "[{\"id\":\"r-3\"}]\n");
}

TEST_F(CommandTest, ErrorsOfTheAgentComeBack) {
  serve({{404, R"({"error": {"code": "not_found", "message": "no request r-9"}})"}});
  EXPECT_EQ(run({"approve", "r-9"}), "");
  EXPECT_EQ(fake::code(outcome_), ErrorCode::not_found);
  EXPECT_EQ(fake::message(outcome_), "no request r-9");
}

// ---- whoami and its notices

constexpr auto kCaller = R"({"user": "alice", "uid": 1000, "access": "denied", "why": "no grant", "grant": null,
    "notices": [{"number": 4, "time": "2026-03-01T12:00:00Z", "text": "g-1 has ended\nask again"},
                {"number": 6, "time": "2026-03-01T13:00:00Z", "text": "r-2 was denied"}]})";
constexpr auto kNotices =
    "2026-03-01T12:00:00Z g-1 has ended\n"
    "  ask again\n"
    "2026-03-01T13:00:00Z r-2 was denied\n";

TEST_F(CommandTest, WhoamiShowsNoticesAndMarksThemSeen) {
  serve({{200, kCaller}, {200, R"({"number": 6})"}});
  EXPECT_EQ(run({"whoami"}), std::string("alice (uid 1000): GPU access on this host is denied: no grant\n") + kNotices);
  EXPECT_THAT(asked(), ElementsAre("GET /v1/whoami", R"(POST /v1/notices/seen {"number":6})"));
}

TEST_F(CommandTest, NoticesAloneAreShownAndMarkedSeen) {
  serve({{200, kCaller}, {200, R"({"number": 6})"}});
  EXPECT_EQ(run({"whoami", "--notices"}), kNotices);
  EXPECT_THAT(asked(), ElementsAre("GET /v1/whoami", R"(POST /v1/notices/seen {"number":6})"));
}

TEST_F(CommandTest, NoticesReadByAProgramStayUnseen) {
  serve({{200, kCaller}, {200, kCaller}});
  EXPECT_THAT(run({"whoami"}, true), HasSubstr("g-1 has ended"));
  EXPECT_THAT(run({"whoami", "--notices"}, true), StartsWith("[{\"number\":4,"));
  EXPECT_THAT(asked(), ElementsAre("GET /v1/whoami", "GET /v1/whoami"));
}

TEST_F(CommandTest, NoticesNoneAreNoOutput) {
  serve({{200, R"({"notices": []})"}});
  EXPECT_EQ(run({"whoami", "--notices"}), "");
  EXPECT_THAT(asked(), ElementsAre("GET /v1/whoami"));
}

TEST_F(CommandTest, NoticesWithoutAnAgentAreSilent) {
  EXPECT_EQ(run({"whoami", "--notices"}), "");
  EXPECT_TRUE(outcome_);
  run({"whoami"});
  EXPECT_EQ(fake::code(outcome_), ErrorCode::unavailable);
}

TEST_F(CommandTest, NoticesThatTheAgentRefusesAreSilent) {
  serve({{503, R"({"error": {"code": "unavailable", "message": "x"}})"}});
  EXPECT_EQ(run({"whoami", "--notices"}), "");
  EXPECT_TRUE(outcome_);
}

// A stopped agent takes connections and never answers.
TEST_F(CommandTest, NoticesOfAnAgentThatHangsAreGivenUp) {
  const auto listener = http::listen_unix(folder_.path() / "agent.sock", 0600, ::getgid());
  ASSERT_TRUE(listener);
  EXPECT_EQ(run({"whoami", "--notices"}), "");
  EXPECT_TRUE(outcome_);
}

}  // namespace
}  // namespace ds01::ctl
