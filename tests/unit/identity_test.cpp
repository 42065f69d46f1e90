// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "ds01/abi.h"
#include "fakes.h"
#include "identity/cgroups.h"
#include "identity/process.h"
#include "identity/users.h"

namespace ds01::identity {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

const std::string kHex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// ---- cgroups

TEST(IsCgroupPath, PathsGoodAndBad) {
  for (const auto* path : {"/a", "/a/b", "/user.slice/user-1000.slice", "/a b", "/.a", "/..a", "/a..", "/ä", "/a\\x2d"})
    EXPECT_TRUE(is_cgroup_path(path)) << path;
  for (const auto& path : {""s, "/"s, "a"s, "a/b"s, "/a/"s, "//a"s, "/a//b"s, "/."s, "/.."s, "/a/../b"s, "/a/."s,
                           "/a\n"s, "/a\0b"s, "/a\x1b"s, "/a\x7f"s})
    EXPECT_FALSE(is_cgroup_path(path)) << path;
}

TEST(HasContainerName, NamesOfTheRuntimesAnywhereInThePath) {
  for (const auto& path :
       {"/system.slice/docker-" + kHex64 + ".scope", "/system.slice/docker-x.scope"s, "/docker/" + kHex64,
        "/" + kHex64 + "/init", "/machine.slice/libpod-" + kHex64 + ".scope/container",
        "/user.slice/user-1000.slice/user@1000.service/libpod-x"s, "/kubepods.slice/cri-containerd-x.scope"s,
        "/crio-x"s, "/machine.slice/x"s, "/machine.slice"s})
    EXPECT_TRUE(has_container_name(path)) << path;
}

TEST(HasContainerName, NamesThatOnlyLookAlike) {
  for (const auto& path :
       {"/"s, ""s, "/user.slice/user-1000.slice/session-1.scope"s, "/system.slice/docker.service"s,
        "/system.slice/docker-proxy.service"s, "/a-docker-x.scope"s, "/machine.slice2"s, "/xmachine.slice"s,
        "/" + kHex64.substr(1), "/" + kHex64 + "0", "/" + kHex64.substr(1) + "g", "/" + kHex64.substr(1) + "A"})
    EXPECT_FALSE(has_container_name(path)) << path;
}

class CgroupsTest : public ::testing::Test {
 protected:
  fake::Folder root_;
  Cgroups cgroups_{root_.path()};
};

TEST_F(CgroupsTest, FindGivesInodeAndDepth) {
  const auto folder = root_.make("a/b/c");
  struct stat status;
  ASSERT_EQ(::stat(folder.c_str(), &status), 0);
  EXPECT_EQ(cgroups_.find("/a/b/c"), (Cgroup{status.st_ino, 3}));
  EXPECT_EQ(cgroups_.find("/a")->depth, 1U);
}

TEST_F(CgroupsTest, FindTellsMissingFromMalformed) {
  root_.write("file", "");
  EXPECT_EQ(fake::code(cgroups_.find("/absent")), ErrorCode::not_found);
  EXPECT_EQ(fake::code(cgroups_.find("/file")), ErrorCode::invalid);
  for (const auto* path : {"", "/", "a", "/a/", "/a/../.."})
    EXPECT_EQ(fake::code(cgroups_.find(path)), ErrorCode::invalid) << path;
}

TEST_F(CgroupsTest, FindLooksAsDeepAsTheKernelSide) {
  std::string path;
  for (int i = 0; i < DS01_MAX_DEPTH - 1; ++i) path += "/d";
  root_.make(path.substr(1) + "/d");
  EXPECT_EQ(cgroups_.find(path)->depth, DS01_MAX_DEPTH - 1U);
  EXPECT_EQ(fake::code(cgroups_.find(path + "/d")), ErrorCode::invalid);
}

TEST_F(CgroupsTest, PathOfAnUnknownIdIsEmpty) { EXPECT_EQ(cgroups_.path_of(~0ULL), ""); }

TEST(FindCgroupRoot, HybridHostHasItBelow) {
  const fake::Folder folder;
  const auto pure = folder.write("pure", "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
  const auto hybrid = folder.write("hybrid",
                                   "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n"
                                   "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n");
  const auto none =
      folder.write("none", "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\ncgroup2 /mnt cgroup2 rw 0 0\nx\n");
  EXPECT_EQ(find_cgroup_root(pure), std::filesystem::path("/sys/fs/cgroup"));
  EXPECT_EQ(find_cgroup_root(hybrid), std::filesystem::path("/sys/fs/cgroup/unified"));
  EXPECT_EQ(fake::code(find_cgroup_root(none)), ErrorCode::unavailable);
  EXPECT_EQ(fake::code(find_cgroup_root(folder.path() / "absent")), ErrorCode::not_found);
}

// ---- CgroupWatch

class CgroupWatchTest : public ::testing::Test {
 protected:
  bool noticed() {
    pollfd entry{watch_->fd(), POLLIN, 0};
    const bool readable = ::poll(&entry, 1, 0) == 1;  // inotify queues the event before mkdir() returns
    watch_->drain();
    return readable;
  }
  void watch() { watch_->watch(root_.path(), {"/a/b"}); }

  fake::Folder root_;
  Result<CgroupWatch> watch_ = CgroupWatch::make();
};

TEST_F(CgroupWatchTest, CgroupAppearingLevelByLevelIsNoticed) {
  ASSERT_TRUE(watch_);
  watch();
  EXPECT_FALSE(noticed());
  root_.make("a");
  EXPECT_TRUE(noticed());
  watch();
  root_.make("a/b");
  EXPECT_TRUE(noticed());
  watch();
  watch_->drain();  // the kernel confirms the watch that was taken away
  EXPECT_FALSE(noticed());
  root_.make("a/b/c");
  EXPECT_TRUE(noticed());
}

TEST_F(CgroupWatchTest, CgroupVanishingAndComingBackIsNoticed) {
  root_.make("a/b");
  watch();
  std::filesystem::remove(root_.path() / "a/b");
  EXPECT_TRUE(noticed());
  watch();
  std::filesystem::remove(root_.path() / "a");
  EXPECT_TRUE(noticed());
  watch();
  root_.make("a");
  EXPECT_TRUE(noticed());
}

TEST_F(CgroupWatchTest, CgroupNobodyNamedIsNotNoticed) {
  root_.make("a/b");
  root_.make("other");
  watch();
  root_.make("other/x");
  EXPECT_FALSE(noticed());
}

TEST_F(CgroupWatchTest, PathDroppedIsNoLongerWatched) {
  root_.make("a/b");
  watch();
  watch_->watch(root_.path(), {});
  watch_->drain();
  root_.make("a/b/c");
  root_.make("a/d");
  EXPECT_FALSE(noticed());
}

// ---- users

TEST(FindUid, NameOrNumber) {
  const fake::Users users;
  EXPECT_EQ(find_uid(users, "alice"), 1000U);
  EXPECT_EQ(find_uid(users, "uid:0"), 0U);
  EXPECT_EQ(find_uid(users, "uid:4242"), 4242U);
  EXPECT_EQ(find_uid(users, "uid:4294967294"), 4294967294U);
}

TEST(FindUid, EverythingElseIsRefused) {
  const fake::Users users;
  for (const auto* text :
       {"uid:", "uid:-1", "uid:4294967295", "uid:4294967296", "uid: 1", "uid:1 ", "uid:alice", "uid:0x1"})
    EXPECT_EQ(fake::code(find_uid(users, text)), ErrorCode::invalid) << text;
  EXPECT_EQ(fake::code(find_uid(users, "1000")), ErrorCode::not_found);
  EXPECT_EQ(fake::code(find_uid(users, "UID:1")), ErrorCode::not_found);
}

TEST(DisplayName, UidWithoutAccountIsShownAsNumber) {
  const fake::Users users;
  EXPECT_EQ(display_name(users, 1000), "alice");
  EXPECT_EQ(display_name(users, 4242), "uid:4242");
}

TEST(SystemUsers, RootExistsAndNonsenseDoesNot) {
  const SystemUsers users;
  EXPECT_EQ(users.uid_of("root"), 0U);
  EXPECT_EQ(users.name_of(0), "root");
  EXPECT_EQ(users.gid_of("root"), 0U);
  EXPECT_TRUE(users.members_of("root")->contains(0));  // by primary group, not by the member list
  const std::string nobody = "no-such-name-" + kHex64;
  EXPECT_EQ(fake::code(users.uid_of(nobody)), ErrorCode::not_found);
  EXPECT_EQ(fake::code(users.gid_of(nobody)), ErrorCode::not_found);
  EXPECT_EQ(fake::code(users.members_of(nobody)), ErrorCode::not_found);
  EXPECT_EQ(fake::code(users.name_of(4'000'000'001U)), ErrorCode::not_found);
}

// ---- processes

TEST(ReadProcess, OwnProcessIsFound) {
  const auto self = read_process("/proc", ::getpid());
  ASSERT_TRUE(self) << fake::message(self);
  EXPECT_EQ(self->executable, std::filesystem::read_symlink("/proc/self/exe").string());
  EXPECT_THAT(self->cgroup, ::testing::StartsWith("/"));
  EXPECT_GT(self->start_ticks, 0U);
}

TEST(IsOnHost, OwnNamespacesAreOnesOwn) {
  const auto self = read_process("/proc", ::getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(is_on_host("/proc", ::getpid()), !has_container_name(self->cgroup));
}

class FakeProc : public ::testing::Test {
 protected:
  FakeProc() {
    add_namespaces("self", "pid:[1]", "user:[2]");
    add_namespaces("7", "pid:[1]", "user:[2]");
    proc_.write("7/stat", stat("(bash)"));
    proc_.write("7/cgroup", "1:name=systemd:/x\n0::/user.slice/user-1000.slice\n");
    proc_.write("7/loginuid", "1000");
    std::filesystem::create_symlink("/usr/bin/bash", proc_.path() / "7/exe");
  }
  void add_namespaces(const std::string& pid, const char* pid_ns, const char* user_ns) {
    proc_.make(pid + "/ns");
    for (const auto* kind : {"pid", "user"}) {
      const auto path = proc_.path() / pid / "ns" / kind;
      std::filesystem::remove(path);
      std::filesystem::create_symlink(kind == "pid"s ? pid_ns : user_ns, path);
    }
  }
  static std::string stat(const std::string& name) {
    return "7 " + name + " S 1 7 7 0 -1 4194304 5 6 7 8 9 10 11 12 20 0 1 0 987654 1 2\n";
  }
  fake::Folder proc_;
};

TEST_F(FakeProc, ReadProcessTakesEveryField) {
  const auto process = read_process(proc_.path(), 7);
  ASSERT_TRUE(process) << fake::message(process);
  EXPECT_EQ(process->executable, "/usr/bin/bash");
  EXPECT_EQ(process->cgroup, "/user.slice/user-1000.slice");
  EXPECT_EQ(process->login_uid, 1000U);
  EXPECT_EQ(process->start_ticks, 987654U);
}

// The name is the process's own choice.
TEST_F(FakeProc, NameHostileDoesNotShiftTheFields) {
  for (const auto* name : {"(a) S 1 2 3)", "())", "( )", "(a b c)", "(\n)"}) {
    proc_.write("7/stat", stat(name));
    EXPECT_EQ(read_process(proc_.path(), 7)->start_ticks, 987654U) << name;
  }
}

TEST_F(FakeProc, LoginUnknownIsNone) {
  for (const auto* text : {"4294967295", "", "x"}) {
    proc_.write("7/loginuid", text);
    EXPECT_EQ(read_process(proc_.path(), 7)->login_uid, std::nullopt) << text;
  }
  std::filesystem::remove(proc_.path() / "7/loginuid");  // a kernel without audit
  EXPECT_EQ(read_process(proc_.path(), 7)->login_uid, std::nullopt);
}

TEST_F(FakeProc, KernelThreadHasNoExecutable) {
  std::filesystem::remove(proc_.path() / "7/exe");
  EXPECT_EQ(read_process(proc_.path(), 7)->executable, "");
}

TEST_F(FakeProc, FilesMissingOrMalformedAreErrors) {
  EXPECT_FALSE(read_process(proc_.path(), 8));
  for (const auto* text : {"", "7 (bash) S 1", "7 (bash", "nonsense"}) {
    proc_.write("7/stat", text);
    EXPECT_FALSE(read_process(proc_.path(), 7)) << text;
  }
  proc_.write("7/stat", stat("(bash)"));
  proc_.write("7/cgroup", "1:name=systemd:/x\n");
  EXPECT_EQ(fake::code(read_process(proc_.path(), 7)), ErrorCode::not_found);
}

TEST_F(FakeProc, SameNamespacesAndPlainCgroupAreOnHost) { EXPECT_EQ(is_on_host(proc_.path(), 7), true); }

TEST_F(FakeProc, OtherNamespaceIsNotOnHost) {
  add_namespaces("7", "pid:[9]", "user:[2]");
  EXPECT_EQ(is_on_host(proc_.path(), 7), false);
  add_namespaces("7", "pid:[1]", "user:[9]");
  EXPECT_EQ(is_on_host(proc_.path(), 7), false);
}

// A container that shares the host's namespaces is one all the same.
TEST_F(FakeProc, ContainerCgroupIsNotOnHost) {
  proc_.write("7/cgroup", "0::/system.slice/docker-" + kHex64 + ".scope\n");
  EXPECT_EQ(is_on_host(proc_.path(), 7), false);
}

TEST_F(FakeProc, DoubtIsAnError) {
  proc_.write("7/cgroup", "");
  EXPECT_FALSE(is_on_host(proc_.path(), 7));
  std::filesystem::remove(proc_.path() / "7/ns/user");
  EXPECT_FALSE(is_on_host(proc_.path(), 7));
  EXPECT_FALSE(is_on_host(proc_.path(), 8));
}

TEST(ReadRights, AreThoseForFiles) {
  const fake::Folder proc;
  proc.write("7/status",
             "Name:\tmy prog\nUid:\t1000\t0\t0\t0\nGid:\t1000\t1000\t1000\t5\nGroups:\t44 1000 \n"
             "CapEff:\t000001ffffffffff\n");
  const auto rights = read_rights(proc.path(), 7);
  ASSERT_EQ(fake::message(rights), "");
  EXPECT_EQ(rights->comm, "my prog");
  EXPECT_EQ(rights->uid, 1000U);
  EXPECT_EQ(rights->file_uid, 0U);
  EXPECT_EQ(rights->groups, (std::set<gid_t>{5, 44, 1000}));
  EXPECT_TRUE(rights->overrides_modes);
}

TEST(ReadRights, RootWithoutTheCapabilityIsBoundByModes) {
  const fake::Folder proc;
  proc.write("7/status", "Name:\tsh\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\nCapEff:\t0000000000000001\n");
  EXPECT_FALSE(read_rights(proc.path(), 7)->overrides_modes);
  EXPECT_EQ(fake::code(read_rights(proc.path(), 8)), ErrorCode::not_found);
}

TEST(SystemUsers, GroupsOfRootHaveItsOwn) {
  const auto groups = SystemUsers().groups_of(0);
  ASSERT_EQ(fake::message(groups), "");
  EXPECT_TRUE(groups->contains(0));
}

}  // namespace
}  // namespace ds01::identity
