// SPDX-License-Identifier: Apache-2.0
#include "authz/authz.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fakes.h"
#include "identity/process.h"

namespace ds01::authz {
namespace {

// ---- is_admin

TEST(IsAdmin, EveryConditionMustHold) {
  const std::set<uid_t> admins{1000};
  for (const auto socket : {Socket::agent, Socket::admin})
    for (const bool host : {false, true})
      for (const uid_t uid : {0U, 1000U, 1001U, ~0U}) {
        Facts facts{socket, uid, host, std::nullopt, ""};
        EXPECT_EQ(is_admin(facts, admins), socket == Socket::admin && host && (uid == 0 || uid == 1000))
            << (socket == Socket::admin ? "admin" : "agent") << ".sock, host " << host << ", uid " << uid;
      }
}

TEST(IsAdmin, WithoutAdminsOnlyRoot) {
  EXPECT_TRUE(is_admin({Socket::admin, 0, true, std::nullopt, ""}, {}));
  EXPECT_FALSE(is_admin({Socket::admin, 1000, true, std::nullopt, ""}, {}));
}

// Who somebody once logged in as gives no rights.
TEST(IsAdmin, LoginUidCountsForNothing) { EXPECT_FALSE(is_admin({Socket::admin, 1001, true, 0, ""}, {0, 1000})); }

// ---- collect

http::Peer peer(pid_t pid, bool with_pidfd = true, int error = 0) {
  http::Peer peer{pid, 1000, 100, Fd(), error};
  if (with_pidfd) peer.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return peer;
}

TEST(Collect, OwnProcessIsSeenAsItIs) {
  const auto facts = collect("/proc", Socket::admin, peer(::getpid()));
  const auto self = identity::read_process("/proc", ::getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(facts.uid, 1000U);  // the socket's word, not /proc's
  EXPECT_EQ(facts.socket, Socket::admin);
  EXPECT_EQ(facts.proven_host, identity::is_on_host("/proc", ::getpid()));
  EXPECT_EQ(facts.cgroup, self->cgroup);
  EXPECT_EQ(facts.login_uid, self->login_uid);
}

TEST(Collect, KernelWithoutPeerPidfdOpensOneItself) {
  const auto facts = collect("/proc", Socket::admin, peer(::getpid(), false, ENOPROTOOPT));
  EXPECT_EQ(facts.proven_host, identity::is_on_host("/proc", ::getpid()));
  EXPECT_NE(facts.cgroup, "");
}

// Any other reason for a missing pidfd must not pass for an old kernel.
TEST(Collect, PidfdMissingProvesNothing) {
  for (const int error : {0, ESRCH, EINVAL, EMFILE, ENODATA}) {
    const auto facts = collect("/proc", Socket::admin, peer(::getpid(), false, error));
    EXPECT_FALSE(facts.proven_host) << error;
    EXPECT_EQ(facts.cgroup, "");
  }
}

TEST(Collect, ProcessUnknownProvesNothing) {
  EXPECT_FALSE(collect("/proc", Socket::admin, peer(0, false, ENOPROTOOPT)).proven_host);
  const fake::Folder empty;
  EXPECT_FALSE(collect(empty.path(), Socket::admin, peer(::getpid())).proven_host);
}

// A process that has ended but was not waited for still has its files in /proc.
TEST(Collect, ProcessEndedProvesNothing) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  auto ended = peer(child);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const auto facts = collect("/proc", Socket::admin, ended);
  EXPECT_FALSE(facts.proven_host);
  EXPECT_EQ(facts.cgroup, "");
  ::waitpid(child, nullptr, 0);
}

TEST(Collect, ContainerIsNotTheHost) {
  const fake::Folder proc;
  const auto pid = std::to_string(::getpid());
  for (const auto& name : {std::string("self"), pid}) {
    proc.make(name + "/ns");
    for (const auto* kind : {"pid", "user"}) std::filesystem::create_symlink(kind, proc.path() / name / "ns" / kind);
  }
  proc.write(pid + "/stat", "1 (x) S 1 7 7 0 -1 4194304 5 6 7 8 9 10 11 12 20 0 1 0 987654 1 2\n");
  proc.write(pid + "/loginuid", "1002");
  proc.write(pid + "/cgroup", "0::/user.slice\n");
  EXPECT_TRUE(collect(proc.path(), Socket::admin, peer(::getpid())).proven_host);
  proc.write(pid + "/cgroup", "0::/docker-1.scope\n");
  const auto facts = collect(proc.path(), Socket::admin, peer(::getpid()));
  EXPECT_FALSE(facts.proven_host);
  EXPECT_EQ(facts.login_uid, 1002U);
  EXPECT_EQ(facts.cgroup, "/docker-1.scope");
}

}  // namespace
}  // namespace ds01::authz
