// SPDX-License-Identifier: Apache-2.0
// Stand-ins for what the agent is handed: a clock that stands still, accounts, a kernel map, a folder of its own.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "grants/kernel_map.h"
#include "holders/source.h"
#include "identity/users.h"

namespace ds01::fake {

using namespace std::chrono_literals;

// 2026-03-01T12:00:00Z, 1,000 s after boot.
class Clock final : public ds01::Clock {
 public:
  BootTime boot() const override { return boot_; }
  WallTime wall() const override { return wall_; }
  std::string boot_id() const override { return "boot-" + std::to_string(boots_); }
  void advance(std::chrono::nanoseconds time) {
    boot_ += time;
    wall_ += time;
  }
  void step_wall(std::chrono::nanoseconds time) { wall_ += time; }
  // Off for `time`, then up for 10 s.
  void reboot(std::chrono::nanoseconds time = 1min) {
    ++boots_;
    boot_ = BootTime(10s);
    wall_ += time + 10s;
  }

 private:
  int boots_ = 1;
  BootTime boot_{1000s};
  WallTime wall_{1772366400s};
};

class Users final : public identity::Users {
 public:
  Result<uid_t> uid_of(const std::string& name) const override {
    if (broken) return fail(ErrorCode::system, "name service: Connection timed out");
    const auto found = uids.find(name);
    if (found == uids.end()) return fail(ErrorCode::not_found, "no such user: " + name);
    return found->second;
  }
  Result<std::string> name_of(uid_t uid) const override {
    ++lookups;
    if (broken) return fail(ErrorCode::system, "name service: Connection timed out");
    for (const auto& [name, known] : uids)
      if (known == uid) return name;
    return fail(ErrorCode::not_found, "no user has uid " + std::to_string(uid));
  }
  Result<std::set<uid_t>> members_of(const std::string& group) const override {
    if (groups_broken) return fail(ErrorCode::system, "name service: Connection timed out");
    const auto found = groups.find(group);
    if (found == groups.end()) return fail(ErrorCode::not_found, "no such group: " + group);
    return found->second;
  }
  Result<gid_t> gid_of(const std::string&) const override { return gid_t{100}; }
  Result<std::set<gid_t>> groups_of(uid_t) const override { return std::set<gid_t>{100}; }
  Result<bool> is_member(uid_t uid, const std::string& group) const override {
    DS01_TRY(const auto members, members_of(group));
    return members.contains(uid);
  }

  std::map<std::string, uid_t> uids{{"root", 0}, {"alice", 1000}, {"bob", 1001}, {"carol", 1002}};
  std::map<std::string, std::set<uid_t>> groups{{"staff", {1000, 1001}}};
  bool broken = false;
  bool groups_broken = false;
  mutable int lookups = 0;  // by uid
};

class KernelMap final : public grants::KernelMap {
 public:
  Status put(std::span<const grants::KernelGrant> grants) override {
    if (broken) return fail(ErrorCode::system, "the kernel's grant map is full");
    ++puts;
    for (const auto& grant : grants) map[{grant.subject.kind, grant.subject.id}] = grant;
    return {};
  }
  Status erase(std::span<const ds01_subject> subjects) override {
    if (broken) return fail(ErrorCode::system, "removing from the kernel's grant map");
    for (const auto& subject : subjects) map.erase({subject.kind, subject.id});
    settled = subjects.empty() && settled;
    return {};
  }
  Status settle() override {
    if (broken || settle_broken) return fail(ErrorCode::system, "waiting for the kernel's programs");
    settled = true;
    return {};
  }
  Result<std::vector<grants::KernelGrant>> entries() const override {
    if (broken) return fail(ErrorCode::system, "reading the kernel's grant map");
    std::vector<grants::KernelGrant> entries;
    for (const auto& [key, grant] : map) {
      entries.push_back(grant);
      entries.back().depth = 0;
    }
    return entries;
  }

  std::map<std::pair<std::uint32_t, std::uint64_t>, grants::KernelGrant> map;
  int puts = 0;         // calls
  bool settled = true;  // nothing was erased since the last settle()
  bool broken = false;
  bool settle_broken = false;
};

class Source final : public holders::Source {
 public:
  Result<std::vector<ds01_holder>> holders() const override {
    if (broken) return fail(ErrorCode::unavailable, "the kernel side is not attached: starting");
    return records;
  }
  bool sees_mappings() const override { return mappings; }
  Result<std::optional<ds01_holder>> ask(pid_t process, std::uint32_t device) const override {
    if (broken) return fail(ErrorCode::unavailable, "the kernel side is not attached: starting");
    const auto found = answers.find({process, device});
    return found == answers.end() ? std::nullopt : std::optional(found->second);
  }

  std::vector<ds01_holder> records;
  std::map<std::pair<pid_t, std::uint32_t>, ds01_holder> answers;
  bool mappings = true;
  bool broken = false;
};

// A record of alice's python3, pid 4711, on the host: its descriptor 3 is of GPU 0, and it has no grant.
inline ds01_holder holder() {
  ds01_holder record{};
  record.task_start = 900'000'000'000;
  record.uid = 1000;
  record.tgid = 4711;
  record.device = DS01_DEV(195U, 0U);
  record.fd = 3;
  record.device_class = DS01_CLASS_GPU;
  record.reason = DS01_NO_GRANT;
  record.on_host = 1;
  std::memcpy(record.comm, "python3", 8);
  return record;
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ds01-unit-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path make(const std::string& name) const {
    std::filesystem::create_directories(path_ / name);
    return path_ / name;
  }
  std::filesystem::path write(const std::string& name, std::string_view text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path path_;
};

// What a Status or Result says: "" for success, else the message.
template <class T>
std::string message(const Result<T>& result) {
  return result ? "" : result.error().message;
}
template <class T>
std::optional<ErrorCode> code(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().code);
}

}  // namespace ds01::fake
