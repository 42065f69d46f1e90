// SPDX-License-Identifier: Apache-2.0
// grant, revoke, extend, list, show, history.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "core/clock.h"
#include "ctl/command.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

constexpr auto kSubject = "user name, uid:N, cgroup:/path, or the grant's id";

struct GrantOptions {
  std::string subject, duration, until, gpus = "all", caps, reason, on_expiry;
  bool dry_run = false;
};

void declare_grant(CLI::App& command, GrantOptions& o) {
  command.add_option("subject", o.subject, "user name, uid:N or cgroup:/path")->required();
  command.add_option("duration", o.duration, "how long (90m, 1d12h) or 'permanent'; default: as configured");
  command.add_option("--until", o.until, "when it ends: RFC 3339, or YYYY-MM-DD[ HH:MM] in local time");
  command.add_option("--gpus", o.gpus, "all, indices (0,2) or UUIDs");
  command.add_option("--caps", o.caps, "capability nodes: nvidia-cap30, imex-channel0, mig/gpu0/gi1/access");
  command.add_option("--reason", o.reason, "why; kept in the log");
  command.add_option("--on-expiry", o.on_expiry, "soft, cut or kill")->check(CLI::IsMember({"soft", "cut", "kill"}));
  command.add_flag("--dry-run", o.dry_run, "check, and show what would be granted");
}

Result<json::object> grant_body(const GrantOptions& options) {
  json::object body{{"subject", options.subject}, {"gpus", options.gpus}};
  if (!options.caps.empty()) body["caps"] = options.caps;
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (!options.on_expiry.empty()) body["on_expiry"] = options.on_expiry;
  if (options.dry_run) body["dry_run"] = true;
  if (!options.duration.empty() && !options.until.empty())
    return fail(ErrorCode::invalid, "give a duration or --until, not both");
  if (options.duration == "permanent")
    body["permanent"] = true;
  else
    DS01_CHECK(add_duration(body, options.duration));
  if (!options.until.empty()) {
    DS01_TRY(const auto until, parse_time(options.until));
    body["expires_at"] = format_utc(until);
  }
  return body;
}

Status print_grant(const Context& context, const Result<Reply>& reply) {
  if (!reply) return std::unexpected(reply.error());
  print(context, reply->value, [&] { return grant_view(reply->value); });
  return {};
}

Status grant(const Context& context, const GrantOptions& options) {
  DS01_TRY(const auto body, grant_body(options));
  return print_grant(context, context.client.call("POST", "/v1/grants", "", json::serialize(body)));
}

struct RevokeOptions {
  std::string subject, reason;
};

void declare_revoke(CLI::App& command, RevokeOptions& o) {
  command.add_option("subject", o.subject, kSubject)->required();
  command.add_option("--reason", o.reason, "why; kept in the log");
}

Status revoke(const Context& context, const RevokeOptions& options) {
  Query query;
  query.add("reason", options.reason);
  return print_grant(context, context.client.call("DELETE", "/v1/grants/" + options.subject, query.text));
}

struct ExtendOptions {
  std::string subject, duration;
};

void declare_extend(CLI::App& command, ExtendOptions& o) {
  command.add_option("subject", o.subject, kSubject)->required();
  command.add_option("duration", o.duration, "how much later it ends (90m, 1d12h)")->required();
}

Status extend(const Context& context, const ExtendOptions& options) {
  json::object body;
  DS01_CHECK(add_duration(body, options.duration));
  return print_grant(
      context, context.client.call("POST", "/v1/grants/" + options.subject + "/extend", "", json::serialize(body)));
}

struct ListOptions {
  bool all = false;
  std::size_t limit = 0;
};

void declare_list(CLI::App& command, ListOptions& o) {
  command.add_flag("--all", o.all, "with those that have ended");
  command.add_option("--limit", o.limit, "at most so many");
}

Status list(const Context& context, const ListOptions& options) {
  Query query;
  if (options.all) query.add("all", "true");
  DS01_TRY(const auto grants, fetch_list(context, "/v1/grants", query, options.limit));
  print(context, grants, [&] { return grants_view(grants, context.style); });
  return {};
}

struct ShowOptions {
  std::string subject;
};

void declare_show(CLI::App& command, ShowOptions& o) { command.add_option("subject", o.subject, kSubject)->required(); }

Status show(const Context& context, const ShowOptions& options) {
  return print_grant(context, context.client.call("GET", "/v1/grants/" + options.subject));
}

struct HistoryOptions {
  std::string user, since;
  std::size_t limit = 0;
};

void declare_history(CLI::App& command, HistoryOptions& o) {
  command.add_option("--user", o.user, "of this user only");
  command.add_option("--since", o.since, "that ended at this time or later");
  command.add_option("--limit", o.limit, "at most so many");
}

Status history(const Context& context, const HistoryOptions& options) {
  Query query;
  query.add("user", options.user);
  DS01_CHECK(query.add_time("since", options.since));
  DS01_TRY(const auto grants, fetch_list(context, "/v1/history", query, options.limit));
  print(context, grants, [&] { return history_view(grants, context.style); });
  return {};
}

}  // namespace

void add_grant_commands(CommandSet& commands) {
  commands.add<GrantOptions>("grant", "Let a user use GPUs outside containers, for a while", declare_grant, grant);
  commands.add<RevokeOptions>("revoke", "End a grant at once", declare_revoke, revoke);
  commands.add<ExtendOptions>("extend", "Move the end of a grant", declare_extend, extend);
  commands.add<ListOptions>("list", "Grants: your own, or for an admin all", declare_list, list);
  commands.add<ShowOptions>("show", "One grant", declare_show, show);
  commands.add<HistoryOptions>("history", "Grants that were: how long, why, and how they ended", declare_history,
                               history);
}

}  // namespace ds01::ctl
