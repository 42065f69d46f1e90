// SPDX-License-Identifier: Apache-2.0
// Users and groups, from the system's name service. Calls may block on it (LDAP, SSSD).
#pragma once

#include <sys/types.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/result.h"

namespace ds01::identity {

class Users {
 public:
  virtual ~Users() = default;
  // not_found: the name service answered that there is none; system: it failed, nothing is known.
  virtual Result<uid_t> uid_of(const std::string& name) const = 0;
  virtual Result<std::string> name_of(uid_t uid) const = 0;
  // Everybody in the group: its member list, and the users whose primary group it is.
  virtual Result<std::set<uid_t>> members_of(const std::string& group) const = 0;
  virtual Result<gid_t> gid_of(const std::string& group) const = 0;
  // The groups that a login of this user is in; none for a uid without an account.
  virtual Result<std::set<gid_t>> groups_of(uid_t uid) const = 0;
  // Asked of one user, so that a directory service that lists nobody answers as well. not_found: no such group.
  virtual Result<bool> is_member(uid_t uid, const std::string& group) const = 0;
};

class SystemUsers final : public Users {
 public:
  Result<uid_t> uid_of(const std::string& name) const override;
  Result<std::string> name_of(uid_t uid) const override;
  Result<std::set<uid_t>> members_of(const std::string& group) const override;
  Result<gid_t> gid_of(const std::string& group) const override;
  Result<std::set<gid_t>> groups_of(uid_t uid) const override;
  Result<bool> is_member(uid_t uid, const std::string& group) const override;
};

// A user name or "uid:N". A uid needs no account; the largest one, which means "none", is invalid.
Result<uid_t> find_uid(const Users& users, const std::string& text);

// The name, or "uid:1234" where there is none.
std::string display_name(const Users& users, uid_t uid);

}  // namespace ds01::identity
