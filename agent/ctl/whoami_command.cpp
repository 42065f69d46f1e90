// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "ctl/command.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

struct WhoamiOptions {
  bool notices = false;
};

void declare_whoami(CLI::App& command, WhoamiOptions& o) {
  command.add_flag("--notices", o.notices,
                   "only what you were told while you were away; nothing if there is nothing, or no agent");
}

json::array notices_in(const json::value& caller) {
  const auto* object = caller.if_object();
  const auto* notices = object != nullptr ? object->if_contains("notices") : nullptr;
  return notices != nullptr && notices->is_array() ? notices->as_array() : json::array();
}

// The body that marks these as seen; none if there is nothing to mark. Programs that read JSON do not count as eyes.
std::optional<std::string> seen_body(const Context& context, const json::array& notices) {
  if (context.json || notices.empty() || !notices.back().is_object()) return std::nullopt;
  const auto* number = notices.back().as_object().if_contains("number");
  if (number == nullptr) return std::nullopt;
  std::fflush(stdout);  // shown first: better twice than never
  return json::serialize(json::object{{"number", *number}});
}

// For login scripts: whatever fails, the login goes on without a word.
Status show_notices(const Context& context) {
  const auto reply = context.client.call_quickly("GET", "/v1/whoami");
  if (!reply) return {};
  const auto notices = notices_in(reply->value);
  print(context, notices, [&] { return notices_view(notices); });
  if (const auto body = seen_body(context, notices))
    static_cast<void>(context.client.call_quickly("POST", "/v1/notices/seen", *body));
  return {};
}

Status whoami(const Context& context, const WhoamiOptions& options) {
  if (options.notices) return show_notices(context);
  DS01_TRY(const auto reply, context.client.call("GET", "/v1/whoami"));
  const auto notices = notices_in(reply.value);
  print(context, reply.value, [&] { return whoami_view(reply.value) + notices_view(notices); });
  if (const auto body = seen_body(context, notices))
    DS01_CHECK(context.client.call("POST", "/v1/notices/seen", "", *body));
  return {};
}

}  // namespace

void add_whoami_command(CommandSet& commands) {
  commands.add<WhoamiOptions>("whoami", "What you may open now, why, and until when; and what you were told",
                              declare_whoami, whoami);
}

}  // namespace ds01::ctl
