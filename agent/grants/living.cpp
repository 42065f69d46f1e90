// SPDX-License-Identifier: Apache-2.0
#include "grants/living.h"

#include <utility>

namespace ds01::grants {

void Living::set_leads(Leads leads) {
  leads_ = std::move(leads);
  for (const auto& [number, grant] : grants_) warnings_.set(number, next_warning(grant, leads_));
}

void Living::put(Grant grant) {
  const auto number = grant.number;
  if (const auto* old = find(number); old != nullptr && old->state == State::suspended) --suspended_;
  if (grant.state == State::suspended) ++suspended_;
  if (grant.subject.kind == Subject::Kind::user)
    by_uid_[grant.subject.uid] = number;
  else
    by_path_[grant.subject.path] = number;
  ends_.set(number, grant.end);
  warnings_.set(number, next_warning(grant, leads_));
  // Loading puts them in order: with the hint that costs no search.
  grants_.insert_or_assign(grants_.end(), number, std::move(grant));
}

void Living::remove(std::uint64_t number) {
  const auto found = grants_.find(number);
  if (found == grants_.end()) return;
  const auto& grant = found->second;
  if (grant.state == State::suspended) --suspended_;
  if (grant.subject.kind == Subject::Kind::user)
    by_uid_.erase(grant.subject.uid);
  else
    by_path_.erase(grant.subject.path);
  ends_.remove(number);
  warnings_.remove(number);
  grants_.erase(found);
}

const Grant* Living::find(std::uint64_t number) const {
  const auto found = grants_.find(number);
  return found == grants_.end() ? nullptr : &found->second;
}

const Grant* Living::of_uid(uid_t uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : find(found->second);
}

const Grant* Living::of_path(const std::string& path) const {
  const auto found = by_path_.find(path);
  return found == by_path_.end() ? nullptr : find(found->second);
}

const Grant* Living::of(const Subject& subject) const {
  return subject.kind == Subject::Kind::user ? of_uid(subject.uid) : of_path(subject.path);
}

}  // namespace ds01::grants
