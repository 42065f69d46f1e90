// SPDX-License-Identifier: Apache-2.0
// The client, the listener, the rate limit and the texts.
#include <fcntl.h>

#include <fstream>
#include <tuple>

#include "http/message.h"
#include "http/rate_limit.h"
#include "http_fixture.h"

namespace ds01::http {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ServerAsked = ServerFixture;  // by the client of ours

TEST(RateLimit, TokensSpentThenRefilledByTime) {
  RateLimit rate(2, 4);
  const RateLimit::Time start{};
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(rate.allow(1000, start));
  EXPECT_FALSE(rate.allow(1000, start + 400ms));
  EXPECT_TRUE(rate.allow(1001, start));
  EXPECT_TRUE(rate.allow(1000, start + 500ms));
  EXPECT_FALSE(rate.allow(1000, start + 500ms));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(rate.allow(1000, start + 1h));
  EXPECT_FALSE(rate.allow(1000, start + 1h));
}

TEST(RateLimit, UidsManyForgottenOnceFull) {
  RateLimit rate(1, 1);
  const RateLimit::Time start{};
  for (uid_t uid = 0; uid < 5000; ++uid) EXPECT_TRUE(rate.allow(uid, start));
  EXPECT_EQ(rate.size(), 5000U);
  EXPECT_FALSE(rate.allow(7, start));  // forgetting must not hand out tokens
  for (uid_t uid = 5000; uid < 10000; ++uid) EXPECT_TRUE(rate.allow(uid, start + 1s));
  EXPECT_LE(rate.size(), 5000U);
}

// The listener

mode_t mode_of(const std::filesystem::path& path) {
  struct stat found{};
  return ::lstat(path.c_str(), &found) == 0 ? found.st_mode : 0;
}

TEST(ListenUnix, PathFreeMadeWithModeAndGroup) {
  const TempDir dir;
  const gid_t gid = ::getuid() == 0 ? 12345 : ::getgid();
  const mode_t umask = ::umask(0077);
  const auto listener = listen_unix(dir / "s", 0660, gid);
  ::umask(umask);
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_EQ(mode_of(dir / "s"), S_IFSOCK | 0660U);
  struct stat found{};
  ASSERT_EQ(::stat((dir / "s").c_str(), &found), 0);
  EXPECT_EQ(found.st_gid, gid);
  EXPECT_EQ(::fcntl(listener->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(::fcntl(listener->get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(ListenUnix, BeforeListenNobodyCanConnect) {
  const TempDir dir;
  const auto listener = listen_unix(dir / "s", 0666, ::getgid(), [&]() -> Status {
    EXPECT_EQ(mode_of(dir / "s"), S_IFSOCK | 0U);
    EXPECT_FALSE(Client(dir / "s").connected());
    return {};
  });
  EXPECT_TRUE(listener);
  EXPECT_TRUE(Client(dir / "s").connected());
}

TEST(ListenUnix, BeforeListenFailsRemovesFile) {
  const TempDir dir;
  const auto listener =
      listen_unix(dir / "s", 0666, ::getgid(), []() -> Status { return fail(ErrorCode::unavailable, "no gate"); });
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().message, "no gate");
  EXPECT_EQ(mode_of(dir / "s"), 0U);
}

TEST(ListenUnix, SocketStaleReplaced) {
  const TempDir dir;
  {
    ASSERT_TRUE(listen_unix(dir / "s", 0600, ::getgid()));
  }
  EXPECT_FALSE(Client(dir / "s").connected());
  const auto listener = listen_unix(dir / "s", 0600, ::getgid());
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_TRUE(Client(dir / "s").connected());
}

void expect_conflict(const std::filesystem::path& path, std::string_view message) {
  const auto listener = listen_unix(path, 0600, ::getgid());
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, ErrorCode::conflict);
  EXPECT_THAT(listener.error().message, HasSubstr(path.native()));
  EXPECT_THAT(listener.error().message, HasSubstr(message));
}

TEST(ListenUnix, SocketLiveNotReplaced) {
  const TempDir dir;
  const auto first = listen_unix(dir / "s", 0600, ::getgid());
  expect_conflict(dir / "s", "another process is listening");
  EXPECT_TRUE(Client(dir / "s").connected());
}

TEST(ListenUnix, OtherFileNotReplaced) {
  const TempDir dir;
  std::ofstream(dir / "file") << "precious";
  expect_conflict(dir / "file", "not a socket");
  EXPECT_EQ(std::filesystem::file_size(dir / "file"), 8U);
  std::filesystem::create_directory(dir / "folder");
  expect_conflict(dir / "folder", "not a socket");
  std::filesystem::create_symlink(dir / "elsewhere", dir / "link");
  expect_conflict(dir / "link", "not a socket");
}

TEST(ListenUnix, PathTooLongRefused) {
  const TempDir dir;
  const auto longest = dir / std::string(107 - (dir / "").native().size(), 'x');
  EXPECT_TRUE(listen_unix(longest, 0600, ::getgid()));
  const auto listener = listen_unix(longest.native() + "x", 0600, ::getgid());
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, ErrorCode::invalid);
  EXPECT_THAT(listener.error().message, HasSubstr("107"));
}

TEST(ListenUnix, FolderMissingFails) {
  const TempDir dir;
  EXPECT_EQ(listen_unix(dir / "none/s", 0600, ::getgid()).error().code, ErrorCode::system);
}

// The client

TEST_F(ServerAsked, OftenAnswersEach) {
  limits_.unlimited_uid = ::getuid();  // the rate has tests of its own
  start();
  for (int i = 0; i < 200; ++i) {
    const auto reply = request(path_, {.method = "POST", .path = "/a b/é", .query = "x=1", .body = "{}"}, kPatience);
    ASSERT_TRUE(reply) << reply.error().message;
    ASSERT_EQ(reply->body, fmt::format("POST /a b/é x=1 {{}} uid={}", ::getuid()));
    ASSERT_EQ(reply->content_type, "application/json");
  }
  EXPECT_THAT(rejections(), IsEmpty());
}

TEST_F(ServerAsked, BodyTooLargeSaysWhy) {
  start();
  const auto reply =
      request(path_, {.method = "PUT", .path = "/", .query = "", .body = std::string(4U << 20U, 'x')}, kPatience);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 413U);
  EXPECT_THAT(reply->body, HasSubstr("too_large"));
}

Result<Response> ask(const std::filesystem::path& path, std::chrono::milliseconds timeout = kPatience) {
  return request(path, {.method = "GET", .path = "/", .query = "", .body = ""}, timeout);
}

TEST(HttpClient, NobodyListeningUnavailable) {
  const TempDir dir;
  EXPECT_EQ(ask(dir / "none").error().code, ErrorCode::unavailable);
  {
    ASSERT_TRUE(listen_unix(dir / "stale", 0600, ::getgid()));
  }
  EXPECT_EQ(ask(dir / "stale").error().code, ErrorCode::unavailable);
}

TEST(HttpClient, ServerSilentTimesOut) {
  const TempDir dir;
  const auto listener = listen_unix(dir / "s", 0600, ::getgid());
  const auto reply = ask(dir / "s", 20ms);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::unavailable);
  EXPECT_THAT(reply.error().message, HasSubstr("no answer within 20 ms"));
}

TEST(HttpClient, ListenerQueueFullTimesOut) {
  const TempDir dir;
  const auto listener = listen_unix(dir / "s", 0600, ::getgid());
  ASSERT_TRUE(listener);
  ::listen(listener->get(), 0);
  const Client first(dir / "s");
  const auto reply = ask(dir / "s", 20ms);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::unavailable);
}

TEST(HttpClient, SocketForbiddenRefused) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  const TempDir dir;
  const auto listener = listen_unix(dir / "s", 0660, 0);
  EXPECT_TRUE(in_child([&] {
    if (!become(1000)) return false;
    const auto reply = ask(dir / "s");
    return !reply && reply.error().code == ErrorCode::refused;
  }));
}

TEST(HttpClient, AnswerMalformedUnavailable) {
  for (const std::string_view answer : {"", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"}) {
    const TempDir dir;
    const auto listener = listen_unix(dir / "s", 0600, ::getgid());
    ASSERT_TRUE(listener);
    std::thread server([&] {
      pollfd ready{.fd = listener->get(), .events = POLLIN, .revents = 0};
      ::poll(&ready, 1, -1);
      const Fd peer(::accept(listener->get(), nullptr, nullptr));
      ::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
    const auto reply = ask(dir / "s");
    server.join();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, ErrorCode::unavailable);
  }
}

TEST(HttpClient, RequestMalformedInvalid) {
  for (const auto& [method, path, query] : {std::tuple{"GET x", "/", ""}, {"GET", "a", ""}, {"GET", "/", "a b"}}) {
    const auto reply = request("/none", {.method = method, .path = path, .query = query, .body = ""}, kPatience);
    EXPECT_EQ(reply.error().code, ErrorCode::invalid);
  }
}

// Texts

TEST(Query, PairsDecoded) {
  using Map = std::map<std::string, std::string>;
  EXPECT_EQ(parse_query("").value(), Map());
  EXPECT_EQ(parse_query("a=1&b=x%26y%3dz+&c=d=e&f").value(),
            (Map{{"a", "1"}, {"b", "x&y=z+"}, {"c", "d=e"}, {"f", ""}}));
}

TEST(Query, PairsBadRefused) {
  for (const auto* query :
       {"a=1&a=2", "a&%61", "=1", "a=%", "a=%0", "a=%zz", "a=%00", "a=%0a", "a=%ff", "a=%ed%a0%80"}) {
    const auto pairs = parse_query(query);
    ASSERT_FALSE(pairs) << query;
    EXPECT_EQ(pairs.error().code, ErrorCode::invalid);
  }
}

TEST(Query, TextEncodedComesBack) {
  const std::string text = "a b&c=d+e%/é😀?#";
  EXPECT_EQ(percent_encode("a b/é~"), "a%20b%2F%C3%A9~");
  EXPECT_EQ(parse_query("k=" + percent_encode(text)).value().at("k"), text);
}

TEST(ErrorResponse, CodeMapsToStatus) {
  EXPECT_EQ(error_response({ErrorCode::invalid, ""}).status, 400U);
  EXPECT_EQ(error_response({ErrorCode::refused, ""}).status, 403U);
  EXPECT_EQ(error_response({ErrorCode::not_found, ""}).status, 404U);
  EXPECT_EQ(error_response({ErrorCode::conflict, ""}).status, 409U);
  EXPECT_EQ(error_response({ErrorCode::too_large, ""}).status, 413U);
  EXPECT_EQ(error_response({ErrorCode::limited, ""}).status, 429U);
  EXPECT_EQ(error_response({ErrorCode::unavailable, ""}).status, 503U);
  EXPECT_EQ(error_response({ErrorCode::system, ""}).status, 500U);
}

TEST(ErrorResponse, MessageHostileStaysJson) {
  EXPECT_EQ(error_response({ErrorCode::not_found, "no \"é\"\\\n\x7f\xff\xc3"}).body,
            "{\"error\": {\"code\": \"not_found\", \"message\": \"no \\\"é\\\"\\\\\\u000a\\u007f??\"}}\n");
}

}  // namespace
}  // namespace ds01::http
