// SPDX-License-Identifier: Apache-2.0
// The living grants in memory: found by number and subject, and scheduled by their ends and warnings. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/deadline.h"
#include "grants/grant.h"
#include "grants/warnings.h"

namespace ds01::grants {

class Living {
 public:
  explicit Living(Leads leads) : leads_(std::move(leads)) {}
  void set_leads(Leads leads);

  // Adds, or replaces the one of that number, whose subject is the same.
  void put(Grant grant);
  void remove(std::uint64_t number);

  const Grant* find(std::uint64_t number) const;
  const Grant* of(const Subject& subject) const;
  const Grant* of_uid(uid_t uid) const;
  const Grant* of_path(const std::string& path) const;
  const std::map<std::uint64_t, Grant>& all() const { return grants_; }
  const std::map<std::string, std::uint64_t>& by_path() const { return by_path_; }
  std::size_t size() const { return grants_.size(); }
  std::size_t suspended() const { return suspended_; }

  const Leads& leads() const { return leads_; }
  const Deadlines& ends() const { return ends_; }
  const Deadlines& warnings() const { return warnings_; }

 private:
  Leads leads_;
  std::map<std::uint64_t, Grant> grants_;
  std::unordered_map<uid_t, std::uint64_t> by_uid_;
  std::map<std::string, std::uint64_t> by_path_;
  Deadlines ends_;
  Deadlines warnings_;
  std::size_t suspended_ = 0;
};

}  // namespace ds01::grants
