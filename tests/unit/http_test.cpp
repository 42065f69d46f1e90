// SPDX-License-Identifier: Apache-2.0
// The server with real sockets: what it serves, who may send, and its limits.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cstring>
#include <ctime>

#include "http/peer.h"
#include "http_fixture.h"

namespace ds01::http {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Server = ServerFixture;  // for the names of the tests

TEST_F(Server, RequestCompleteAnswered) {
  start();
  Client client(path_);
  const std::string reply = client.ask("POST /a%20b/c?x=%31&y HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(reply, HasSubstr(fmt::format("\r\n\r\nPOST /a b/c x=%31&y body uid={}", ::getuid())));
}

TEST_F(Server, RequestBytewiseAnswered) {
  start();
  Client client(path_);
  for (const char c :
       std::string("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")) {
    ASSERT_TRUE(client.send(std::string(1, c)));
  }
  EXPECT_THAT(client.reply(), HasSubstr("POST /  abcde uid="));
}

TEST_F(Server, RequestsPipelinedAnsweredInOrder) {
  limits_.unlimited_uid = ::getuid();  // the rate has tests of its own
  start();
  Client client(path_);
  std::string requests;
  for (int i = 0; i < 300; ++i) requests += fmt::format("PUT /{} HTTP/1.1\r\nContent-Length: 1\r\n\r\n!", i);
  std::thread writer([&] { client.send(requests); });
  for (int i = 0; i < 300; ++i) EXPECT_THAT(client.reply(), HasSubstr(fmt::format("PUT /{}  !", i)));
  writer.join();
}

TEST_F(Server, ConnectionKeptAliveServesMany) {
  limits_.unlimited_uid = ::getuid();  // the rate has tests of its own
  start();
  Client client(path_);
  for (int i = 0; i < 200; ++i) EXPECT_THAT(client.ask(kGet), HasSubstr("Connection: keep-alive"));
}

TEST_F(Server, ConnectionCloseAskedClosed) {
  start();
  for (const auto* request : {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}) {
    Client client(path_);
    EXPECT_THAT(client.ask(request), HasSubstr("Connection: close"));
    EXPECT_TRUE(client.ended());
  }
  EXPECT_THAT(rejections(), IsEmpty());
}

TEST_F(Server, ClientHalfClosedStillAnswered) {
  start();
  Client client(path_);
  client.send(kGet);
  ::shutdown(client.fd(), SHUT_WR);
  EXPECT_THAT(client.rest(), HasSubstr("GET /hello"));
}

TEST_F(Server, ClientExpectingContinueToldToGoOn) {
  start();
  Client client(path_);
  client.send(post("Expect: 100-continue\r\nContent-Length: 3"));
  EXPECT_EQ(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(client.ask("abc"), HasSubstr("POST /  abc "));
}

TEST_F(Server, HeadAnsweredWithoutBody) {
  start();
  Client client(path_);
  client.send("HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(client.rest().ends_with("\r\n\r\n"));
}

TEST_F(Server, HandlerThrowsAnswers500AndGoesOn) {
  start();
  Client client(path_);
  EXPECT_THAT(client.ask("GET /throw HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(first_rejection(), HasSubstr("/throw failed: bug"));
  EXPECT_THAT(client.ask(kGet), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Server, HandlerDestroysServerClosesConnections) {
  start();
  Client other(path_);
  EXPECT_THAT(other.ask(kGet), StartsWith("HTTP/1.1 200 "));
  Client client(path_);
  client.send("GET /stop HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(other.ended());
}

TEST_F(Server, RequestSecondHostileFirstAnswered) {
  start();
  Client client(path_);
  client.send(std::string(kGet) + "BAD\r\n\r\n" + std::string(kGet));
  EXPECT_THAT(client.reply(), HasSubstr("GET /hello"));
  expect_refused(client, "400", "invalid");
  EXPECT_EQ(handled_, 1);
}

TEST_F(Server, BodyAtLimitAnswered) {
  limits_.body_bytes = 2048;
  start();
  Client client(path_);
  EXPECT_THAT(client.ask(post("Content-Length: 2048", std::string(2048, 'x'))), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(client.ask("DELETE / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Server, BodyTooLargeTakenBeforeClosing) {
  start();
  Client client(path_);
  EXPECT_TRUE(client.send(post("Content-Length: 600000", std::string(600000, 'x'))));  // more than the socket holds
  expect_refused(client, "413", "too_large");
}

// Senders

TEST_F(Server, SocketInheritedByChildRefused) {
  start();
  Client client(path_);
  ASSERT_TRUE(in_child([&] { return client.send(kGet); }));
  expect_refused(client, "403", "refused");
  EXPECT_EQ(handled_, 0);
}

TEST_F(Server, RequestHalfFromChildRefused) {
  start();
  Client client(path_);
  client.send("GET / HT");
  ASSERT_TRUE(in_child([&] { return client.send("TP/1.1\r\n\r\n"); }));
  expect_refused(client, "403", "refused");
  EXPECT_EQ(handled_, 0);
}

TEST_F(Server, RequestAfterServedFromChildRefused) {
  start();
  Client client(path_);
  EXPECT_THAT(client.ask(kGet), StartsWith("HTTP/1.1 200 "));
  ASSERT_TRUE(in_child([&] { return client.send(kGet); }));
  expect_refused(client, "403", "refused");
  EXPECT_EQ(handled_, 1);
}

TEST_F(Server, BytesSentBeforeAcceptJudgedAlike) {
  auto listener = listen_unix(path_, 0666, ::getgid());
  ASSERT_TRUE(listener);
  Client honest(path_);
  Client shared(path_);
  ASSERT_TRUE(honest.send(kGet));
  ASSERT_TRUE(in_child([&] { return shared.send(kGet); }));
  serve(std::move(*listener));
  EXPECT_THAT(honest.reply(), HasSubstr("GET /hello"));
  expect_refused(shared, "403", "refused");
}

TEST_F(Server, PrivilegesDroppedAfterConnectRefused) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  start();
  const auto body = [&] {
    Client client(path_);
    return become(1000) && client.send(kGet) && client.rest().starts_with("HTTP/1.1 403 ");
  };
  EXPECT_TRUE(in_child(body));
  EXPECT_EQ(handled_, 0);
}

bool send_descriptor(int socket, std::string_view bytes, int descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
  std::string copy(bytes);
  iovec data{.iov_base = copy.data(), .iov_len = copy.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) > 0;
}

TEST_F(Server, DescriptorsPassedRefusedAndClosed) {
  start();
  Client client(path_);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const Fd reader(pipe[0]);
  {
    const Fd writer(pipe[1]);
    ASSERT_TRUE(send_descriptor(client.fd(), kGet, writer.get()));
  }
  expect_refused(client, "403", "refused");
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);  // nobody holds the writing end any more
}

TEST(Peer, ProcessThatConnectedGoneIsForeign) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
  const Fd ours(pair[0]);
  const Fd theirs(pair[1]);
  ASSERT_TRUE(pass_credentials(ours.get()));
  auto peer = peer_of(ours.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_TRUE(peer->pidfd || peer->pidfd_error == ENOPROTOOPT);
  std::array<char, 16> room;
  ASSERT_EQ(::write(theirs.get(), "a", 1), 1);
  EXPECT_EQ(receive(ours.get(), room, *peer).what, Incoming::bytes);
  EXPECT_EQ(receive(ours.get(), room, *peer).what, Incoming::nothing_yet);

  // The pid as recorded, but now of another process: what reuse looks like.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  peer->pidfd.reset(static_cast<int>(::syscall(434 /* pidfd_open */, child, 0)));
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(peer->pidfd);
  ASSERT_EQ(::write(theirs.get(), "a", 1), 1);
  EXPECT_EQ(receive(ours.get(), room, *peer).what, Incoming::foreign);
}

TEST(Peer, BytesWithoutCredentialsAreForeign) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
  const Fd ours(pair[0]);
  const Fd theirs(pair[1]);
  ASSERT_EQ(::write(theirs.get(), "a", 1), 1);  // SO_PASSCRED is not on yet
  ASSERT_TRUE(pass_credentials(ours.get()));
  const auto peer = peer_of(ours.get());
  ASSERT_TRUE(peer);
  std::array<char, 16> room;
  EXPECT_EQ(receive(ours.get(), room, *peer).what, Incoming::foreign);
}

// Slow peers

TEST_F(Server, RequestTooSlowCut) {
  limits_.idle = 60ms;
  start();
  Client client(path_);
  const auto begin = steady_clock::now();
  int sent = 0;
  while (client.send("G") && ++sent < 1000 && !client.readable_within(10ms)) {
  }
  EXPECT_TRUE(client.ended());
  EXPECT_LT(steady_clock::now() - begin, kPatience / 2);
  EXPECT_EQ(first_rejection(), "the request did not arrive in time");
}

TEST_F(Server, ReplyNotTakenCut) {
  limits_.idle = 60ms;
  start();
  Client client(path_);
  client.send("GET /big HTTP/1.1\r\n\r\n");
  EXPECT_EQ(first_rejection(), "the reply was not taken in time");
  EXPECT_LT(client.rest().size(), 8U << 20U);
}

TEST_F(Server, ReplyLargeArrivesWhole) {
  start();
  Client client(path_);
  EXPECT_GT(client.ask("GET /big HTTP/1.1\r\n\r\n").size(), 8U << 20U);
}

TEST_F(Server, ConnectionIdleClosedQuietly) {
  limits_.idle = 30ms;
  start();
  Client silent(path_);
  Client served(path_);
  EXPECT_THAT(served.ask(kGet), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(served.ended());
  EXPECT_THAT(rejections(), IsEmpty());
}

// Numbers

TEST_F(Server, ConnectionsOfUidBusyNextRefused) {
  limits_.unlimited_uid = kNobody;
  limits_.connections_per_uid = 2;
  start();
  Client one(path_);
  Client two(path_);
  ASSERT_TRUE(one.send("G") && two.send("G"));
  Client three(path_);
  expect_refused(three, "429", "limited");
  EXPECT_THAT(one.ask(kGet.substr(1)), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Server, ConnectionsOfUidIdleOldestGivesWay) {
  limits_.unlimited_uid = kNobody;
  limits_.connections_per_uid = 2;
  start();
  Client one(path_);
  Client two(path_);
  EXPECT_THAT(two.ask(kGet), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(one.ask(kGet), StartsWith("HTTP/1.1 200 "));
  Client three(path_);
  EXPECT_THAT(three.ask(kGet), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(two.ended());
  EXPECT_THAT(one.ask(kGet), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Server, ConnectionsInTotalBusyNextRefused) {
  limits_.connections = 2;
  start();
  Client one(path_);
  Client two(path_);
  ASSERT_TRUE(one.send("G") && two.send("G"));
  Client three(path_);
  expect_refused(three, "503", "unavailable");
}

TEST_F(Server, ConnectionsOfRootAndUserOnlyUserBound) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  limits_.connections_per_uid = 1;
  limits_.requests_per_second = 1;
  start();
  Client one(path_);
  Client two(path_);
  ASSERT_TRUE(one.send("G"));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(two.ask(kGet), StartsWith("HTTP/1.1 200 "));
  const auto user = [&] {
    if (!become(1000)) return false;
    Client first(path_);
    if (!first.send("G")) return false;
    Client second(path_);
    return second.rest().starts_with("HTTP/1.1 429 ") && first.ask(kGet.substr(1)).ends_with("uid=1000");
  };
  EXPECT_TRUE(in_child(user));
}

TEST_F(Server, RequestsTooManyRefusedUntilTimePasses) {
  std::atomic<int> seconds = 0;
  limits_.unlimited_uid = kNobody;
  limits_.requests_per_second = 1;
  limits_.now = [&] { return steady_clock::time_point(std::chrono::seconds(seconds)); };
  start();
  Client client(path_);
  EXPECT_THAT(client.ask(kGet), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(client.ask(kGet), StartsWith("HTTP/1.1 200 "));
  client.send("malformed requests count as well");
  expect_refused(client, "429", "limited");
  seconds = 1;
  Client later(path_);
  EXPECT_THAT(later.ask(kGet), StartsWith("HTTP/1.1 200 "));
}

TEST_F(Server, DescriptorsExhaustedWaitsAndRecovers) {
  start();
  EXPECT_THAT(Client(path_).ask(kGet), StartsWith("HTTP/1.1 200 "));  // whatever opens files lazily has done so
  Client client(path_);
  EXPECT_THAT(client.ask(kGet), StartsWith("HTTP/1.1 200 "));
  Client waiting("/nonexistent");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 3;  // every lower number is taken, so accept has none left
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.native().copy(address.sun_path, sizeof address.sun_path - 1);
  const bool connected = ::connect(waiting.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const std::clock_t cpu = std::clock();
  const bool answered = waiting.send(kGet) && waiting.readable_within(250ms);
  const double used = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  const std::string meanwhile = client.ask(kGet);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(connected);
  EXPECT_FALSE(answered);
  EXPECT_LT(used, 0.1);
  EXPECT_THAT(meanwhile, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(waiting.reply(), StartsWith("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace ds01::http
