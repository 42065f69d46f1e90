// SPDX-License-Identifier: Apache-2.0
#include "notify/announcer.h"

#include <fmt/format.h>

#include "core/text.h"

namespace ds01::notify {
namespace {

using std::chrono::seconds;

// Rounded up, so that no time is promised away: to seconds, from ten minutes on to minutes.
seconds rounded(std::chrono::nanoseconds time) {
  const auto whole = std::chrono::ceil<seconds>(time);
  return whole < std::chrono::minutes(10) ? whole : std::chrono::ceil<std::chrono::minutes>(whole);
}

// What to type for as long again.
std::string ask_for(seconds duration) {
  return fmt::format("ds01ctl request {} --reason TEXT",
                     duration > seconds(0) ? format_duration(rounded(duration)) : "24h");
}

// Names and reasons come from people: a line break in one must not begin a line of ours.
std::string by(const std::optional<grants::Actor>& actor) { return actor ? " by " + printable(actor->name) : ""; }
std::string because(const std::string& reason) { return reason.empty() ? "" : ": " + printable(reason); }

bool is_person(const grants::Grant& grant) { return grant.subject.kind == grants::Subject::Kind::user; }

}  // namespace

void Announcer::tell(uid_t uid, const std::string& text) { deps_.on_told(uid, text, deps_.notifier.tell(uid, text)); }

void Announcer::ending(const grants::Grant& grant) {
  const auto left = time_left(grant.end, deps_.clock);
  const auto end = on_wall(grant.end, deps_.clock);
  if (!is_person(grant) || !left || !end) return;
  tell(grant.subject.uid, fmt::format("ds01: your GPU access ({}) ends in {}, at {}. For more: {}", grant.id(),
                                      format_duration(rounded(*left)), format_utc(*end), ask_for(grant.term)));
}

void Announcer::ended(const grants::Grant& grant) {
  if (!is_person(grant)) return;
  if (grant.state == grants::State::revoked)
    return tell(grant.subject.uid, fmt::format("ds01: your GPU access ({}) was revoked{}{}\nFor more: {}", grant.id(),
                                               by(grant.ended_by), because(grant.end_reason), ask_for(grant.term)));
  tell(grant.subject.uid,
       fmt::format("ds01: your GPU access ({}) has ended. For more: {}", grant.id(), ask_for(grant.term)));
}

void Announcer::approved(const grants::Request& request, const grants::Grant& grant) {
  const auto end = on_wall(grant.end, deps_.clock);
  tell(request.who.uid, fmt::format("ds01: your request {} was approved{}: {} until {}", request.id(),
                                    request.decided_by ? by(request.decided_by) : " automatically", grant.scope(),
                                    end ? format_utc(*end) : "revoked"));
}

void Announcer::denied(const grants::Request& request) {
  tell(request.who.uid, fmt::format("ds01: your request {} was denied{}{}", request.id(), by(request.decided_by),
                                    because(request.answer)));
}

void Announcer::lapsed(const grants::Request& request) {
  tell(request.who.uid, fmt::format("ds01: your request {} has lapsed: nobody answered it in time. To ask again: {}",
                                    request.id(), ask_for(request.duration)));
}

}  // namespace ds01::notify
