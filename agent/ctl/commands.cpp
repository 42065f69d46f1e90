// SPDX-License-Identifier: Apache-2.0
#include "ctl/commands.h"

#include <functional>
#include <memory>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "core/clock.h"
#include "ctl/views.h"
#include "http/http.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

// Data goes to stdout in the form asked for; `view` makes the one for people.
void print(const Context& context, const json::value& value, const std::function<std::string()>& view) {
  fmt::print("{}", context.json ? json::serialize(value) + "\n" : view());
}

struct Query {
  std::string text;
  void add(std::string_view key, const std::string& value) {
    if (!value.empty()) text += fmt::format("{}{}={}", text.empty() ? "" : "&", key, http::percent_encode(value));
  }
};

class Commands {
 public:
  Commands(CLI::App& app, Context& context, std::optional<Status>& outcome)
      : app_(app), context_(context), outcome_(outcome) {}

  void add_grant();
  void add_revoke();
  void add_list();
  void add_show();
  void add_whoami();
  void add_status();
  void add_mode();
  void add_denials();

 private:
  // The options of one command live as long as the App that refers to them.
  template <class Options>
  void add(const char* name, const char* description, const std::function<void(CLI::App&, Options&)>& declare,
           Status (Commands::*run)(const Options&)) {
    auto* command = app_.add_subcommand(name, description);
    auto options = std::make_shared<Options>();
    declare(*command, *options);
    command->callback([self = *this, options, run]() mutable { self.outcome_ = (self.*run)(*options); });
  }

  struct GrantOptions {
    std::string subject, duration, until, gpus = "all", reason, on_expiry;
    bool dry_run = false;
  };
  struct SubjectOptions {
    std::string subject, reason;
  };
  struct ListOptions {
    bool all = false;
    std::size_t limit = 0;
  };
  struct ModeOptions {
    std::string mode, gate = "gpu", lasting;
    bool reset = false;
  };
  struct DenialOptions {
    std::string user, since;
  };
  struct NoOptions {};

  Status grant(const GrantOptions& options);
  Status revoke(const SubjectOptions& options);
  Status list(const ListOptions& options);
  Status show(const SubjectOptions& options);
  Status whoami(const NoOptions& options);
  Status status(const NoOptions& options);
  Status mode(const ModeOptions& options);
  Status denials(const DenialOptions& options);
  static Result<json::object> grant_body(const GrantOptions& options);

  CLI::App& app_;
  Context& context_;
  std::optional<Status>& outcome_;
};

void Commands::add_grant() {
  add<GrantOptions>(
      "grant", "Let a user use GPUs outside containers, for a while",
      [](CLI::App& command, GrantOptions& o) {
        command.add_option("subject", o.subject, "user name, uid:N or cgroup:/path")->required();
        command.add_option("duration", o.duration, "how long (90m, 1d12h) or 'permanent'; default: as configured");
        command.add_option("--until", o.until, "when it ends: RFC 3339, or YYYY-MM-DD[ HH:MM] in local time");
        command.add_option("--gpus", o.gpus, "all, indices (0,2) or UUIDs");
        command.add_option("--reason", o.reason, "why; kept in the log");
        command.add_option("--on-expiry", o.on_expiry, "soft, cut or kill")
            ->check(CLI::IsMember({"soft", "cut", "kill"}));
        command.add_flag("--dry-run", o.dry_run, "check, and show what would be granted");
      },
      &Commands::grant);
}

Result<json::object> Commands::grant_body(const GrantOptions& options) {
  json::object body{{"subject", options.subject}, {"gpus", options.gpus}};
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (!options.on_expiry.empty()) body["on_expiry"] = options.on_expiry;
  if (options.dry_run) body["dry_run"] = true;
  if (!options.duration.empty() && !options.until.empty())
    return fail(ErrorCode::invalid, "give a duration or --until, not both");
  if (options.duration == "permanent") {
    body["permanent"] = true;
  } else if (!options.duration.empty()) {
    DS01_TRY(const auto duration, parse_duration(options.duration));
    body["duration_s"] = duration.count();
  }
  if (!options.until.empty()) {
    DS01_TRY(const auto until, parse_time(options.until));
    body["expires_at"] = format_utc(until);
  }
  return body;
}

Status Commands::grant(const GrantOptions& options) {
  DS01_TRY(const auto body, grant_body(options));
  DS01_TRY(const auto reply, context_.client.call("POST", "/v1/grants", "", json::serialize(body)));
  print(context_, reply.value, [&] { return grant_view(reply.value); });
  return {};
}

void Commands::add_revoke() {
  add<SubjectOptions>(
      "revoke", "End a grant at once",
      [](CLI::App& command, SubjectOptions& o) {
        command.add_option("subject", o.subject, "user name, uid:N, cgroup:/path, or the grant's id")->required();
        command.add_option("--reason", o.reason, "why; kept in the log");
      },
      &Commands::revoke);
}

Status Commands::revoke(const SubjectOptions& options) {
  Query query;
  query.add("reason", options.reason);
  DS01_TRY(const auto reply, context_.client.call("DELETE", "/v1/grants/" + options.subject, query.text));
  print(context_, reply.value, [&] { return grant_view(reply.value); });
  return {};
}

void Commands::add_list() {
  add<ListOptions>(
      "list", "Grants: your own, or for an admin all",
      [](CLI::App& command, ListOptions& o) {
        command.add_flag("--all", o.all, "with those that have ended");
        command.add_option("--limit", o.limit, "at most so many");
      },
      &Commands::list);
}

Status Commands::list(const ListOptions& options) {
  json::array grants;
  std::string cursor;
  do {
    Query query;
    if (options.all) query.add("all", "true");
    if (options.limit != 0) query.add("limit", std::to_string(options.limit));
    query.add("cursor", cursor);
    DS01_TRY(auto reply, context_.client.call("GET", "/v1/grants", query.text));
    for (auto& grant : reply.value.as_array()) grants.push_back(std::move(grant));
    cursor = reply.next_cursor;
  } while (!cursor.empty() && options.limit == 0);
  print(context_, grants, [&] { return grants_view(grants, context_.style); });
  return {};
}

void Commands::add_show() {
  add<SubjectOptions>(
      "show", "One grant",
      [](CLI::App& command, SubjectOptions& o) {
        command.add_option("subject", o.subject, "user name, uid:N, cgroup:/path, or the grant's id")->required();
      },
      &Commands::show);
}

Status Commands::show(const SubjectOptions& options) {
  DS01_TRY(const auto reply, context_.client.call("GET", "/v1/grants/" + options.subject));
  print(context_, reply.value, [&] { return grant_view(reply.value); });
  return {};
}

void Commands::add_whoami() {
  add<NoOptions>(
      "whoami", "What you may open now, why, and until when", [](CLI::App&, NoOptions&) {}, &Commands::whoami);
}

Status Commands::whoami(const NoOptions&) {
  DS01_TRY(const auto reply, context_.client.call("GET", "/v1/whoami"));
  print(context_, reply.value, [&] { return whoami_view(reply.value); });
  return {};
}

void Commands::add_status() {
  add<NoOptions>("status", "What is enforced, and what was counted", [](CLI::App&, NoOptions&) {}, &Commands::status);
}

Status Commands::status(const NoOptions&) {
  DS01_TRY(const auto reply, context_.client.call("GET", "/v1/status"));
  print(context_, reply.value, [&] { return status_view(reply.value); });
  return {};
}

void Commands::add_mode() {
  add<ModeOptions>(
      "mode", "Show the gate's mode, or set it",
      [](CLI::App& command, ModeOptions& o) {
        auto* mode = command.add_option("mode", o.mode, "disabled, monitoring or full")
                         ->check(CLI::IsMember({"disabled", "monitoring", "full"}));
        command.add_flag("--default", o.reset, "back to the configured mode")->excludes(mode);
        command.add_option("--for", o.lasting, "only for so long (1h); then the configured mode")->needs(mode);
        command.add_option("--gate", o.gate, "which gate")->check(CLI::IsMember({"gpu"}));
      },
      &Commands::mode);
}

Status Commands::mode(const ModeOptions& options) {
  std::string method = "GET";
  std::string body;
  if (options.reset || !options.mode.empty()) {
    json::object request{{"gate", options.gate}, {"mode", options.reset ? "default" : options.mode}};
    if (!options.lasting.empty()) {
      DS01_TRY(const auto lasting, parse_duration(options.lasting));
      request["for_s"] = lasting.count();
    }
    method = "PUT";
    body = json::serialize(request);
  }
  DS01_TRY(const auto reply, context_.client.call(method, "/v1/mode", "", body));
  print(context_, reply.value, [&] { return mode_view(reply.value); });
  return {};
}

void Commands::add_denials() {
  add<DenialOptions>(
      "denials", "Exact counts of what was denied, or would be in monitoring mode",
      [](CLI::App& command, DenialOptions& o) {
        command.add_option("--user", o.user, "of this user only");
        command.add_option("--since", o.since, "with a denial after this time");
      },
      &Commands::denials);
}

Status Commands::denials(const DenialOptions& options) {
  Query query;
  query.add("user", options.user);
  if (!options.since.empty()) {
    DS01_TRY(const auto since, parse_time(options.since));
    query.add("since", format_utc(since));
  }
  DS01_TRY(const auto reply, context_.client.call("GET", "/v1/denials", query.text));
  print(context_, reply.value, [&] { return denials_view(reply.value.as_array(), context_.style); });
  return {};
}

}  // namespace

void add_commands(CLI::App& app, Context& context, std::optional<Status>& outcome) {
  Commands commands(app, context, outcome);
  commands.add_grant();
  commands.add_revoke();
  commands.add_list();
  commands.add_show();
  commands.add_whoami();
  commands.add_status();
  commands.add_mode();
  commands.add_denials();
}

}  // namespace ds01::ctl
