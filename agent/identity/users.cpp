// SPDX-License-Identifier: Apache-2.0
#include "identity/users.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#include "core/files.h"

namespace ds01::identity {
namespace {

// Calls one of the get…_r functions with a buffer that grows until the entry fits.
template <class Entry, class Call>
Result<bool> look_up(Entry& entry, std::vector<char>& buffer, Call call) {
  Entry* found = nullptr;
  buffer.resize(4096);
  int error;
  while ((error = call(&entry, buffer.data(), buffer.size(), &found)) == ERANGE && buffer.size() < (1U << 24))
    buffer.resize(buffer.size() * 2);
  // glibc returns 0 where a service answers that there is no such entry. Any errno, ENOENT as well, means that one
  // could not be asked: nss-pam-ldapd says ENOENT while its daemon is down.
  if (error == 0) return found != nullptr;
  return fail_errno("name service", error);
}

Result<group> find_group(const std::string& name, std::vector<char>& buffer) {
  group entry = {};
  DS01_TRY(const bool found, look_up(entry, buffer, [&](auto... rest) { return ::getgrnam_r(name.c_str(), rest...); }));
  if (!found) return fail(ErrorCode::not_found, fmt::format("no such group: {}", name));
  return entry;
}

}  // namespace

Result<uid_t> SystemUsers::uid_of(const std::string& name) const {
  // The C interface would read "alice" from a name that goes on behind a NUL.
  if (name.find('\0') != std::string::npos) return fail(ErrorCode::invalid, "a user name contains a NUL byte");
  passwd entry = {};
  std::vector<char> buffer;
  DS01_TRY(const bool found, look_up(entry, buffer, [&](auto... rest) { return ::getpwnam_r(name.c_str(), rest...); }));
  if (!found) return fail(ErrorCode::not_found, fmt::format("no such user: {}", name));
  return entry.pw_uid;
}

Result<std::string> SystemUsers::name_of(uid_t uid) const {
  passwd entry = {};
  std::vector<char> buffer;
  DS01_TRY(const bool found, look_up(entry, buffer, [&](auto... rest) { return ::getpwuid_r(uid, rest...); }));
  if (!found) return fail(ErrorCode::not_found, fmt::format("no user has uid {}", uid));
  return std::string(entry.pw_name);
}

Result<std::set<uid_t>> SystemUsers::members_of(const std::string& name) const {
  std::vector<char> buffer;
  DS01_TRY(const auto entry, find_group(name, buffer));
  std::set<uid_t> members;
  for (char** member = entry.gr_mem; *member != nullptr; ++member)
    if (const auto uid = uid_of(*member)) members.insert(*uid);
  ::setpwent();
  while (const passwd* user = ::getpwent())
    if (user->pw_gid == entry.gr_gid) members.insert(user->pw_uid);
  ::endpwent();
  return members;
}

Result<std::set<gid_t>> SystemUsers::groups_of(uid_t uid) const {
  passwd entry = {};
  std::vector<char> buffer;
  DS01_TRY(const bool found, look_up(entry, buffer, [&](auto... rest) { return ::getpwuid_r(uid, rest...); }));
  if (!found) return std::set<gid_t>{};
  std::vector<gid_t> groups(64);
  int count = static_cast<int>(groups.size());
  while (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0) {
    groups.resize(std::max(static_cast<std::size_t>(count), groups.size() * 2));
    count = static_cast<int>(groups.size());
  }
  groups.resize(static_cast<std::size_t>(count));
  return std::set<gid_t>(groups.begin(), groups.end());
}

Result<bool> SystemUsers::is_member(uid_t uid, const std::string& group) const {
  DS01_TRY(const gid_t wanted, gid_of(group));
  DS01_TRY(const auto groups, groups_of(uid));
  return groups.contains(wanted);
}

Result<gid_t> SystemUsers::gid_of(const std::string& name) const {
  std::vector<char> buffer;
  DS01_TRY(const auto entry, find_group(name, buffer));
  return entry.gr_gid;
}

Result<uid_t> find_uid(const Users& users, const std::string& text) {
  if (!text.starts_with("uid:")) return users.uid_of(text);
  const auto number = parse_number(std::string_view(text).substr(4));
  if (!number || *number >= ~uid_t{0})
    return fail(ErrorCode::invalid, fmt::format("'{}' is not a uid: write uid:N", text));
  return static_cast<uid_t>(*number);
}

std::string display_name(const Users& users, uid_t uid) {
  const auto name = users.name_of(uid);
  return name ? *name : fmt::format("uid:{}", uid);
}

}  // namespace ds01::identity
