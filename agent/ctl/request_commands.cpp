// SPDX-License-Identifier: Apache-2.0
// request, requests, approve, deny.
#include <fmt/format.h>
#include <boost/json.hpp>

#include "ctl/command.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

Status print_request(const Context& context, const Result<Reply>& reply) {
  if (!reply) return std::unexpected(reply.error());
  print(context, reply->value, [&] { return request_view(reply->value); });
  return {};
}

struct RequestOptions {
  std::string duration, gpus = "all", reason;
};

void declare_request(CLI::App& command, RequestOptions& o) {
  command.add_option("duration", o.duration, "how long (90m, 1d12h); default: as configured");
  command.add_option("--reason", o.reason, "what for; the admins read it")->required();
  command.add_option("--gpus", o.gpus, "all, indices (0,2) or UUIDs");
}

Status request(const Context& context, const RequestOptions& options) {
  json::object body{{"gpus", options.gpus}, {"reason", options.reason}};
  DS01_CHECK(add_duration(body, options.duration));
  return print_request(context, context.client.call("POST", "/v1/requests", "", json::serialize(body)));
}

struct RequestsOptions {
  bool all = false;
  std::size_t limit = 0;
};

void declare_requests(CLI::App& command, RequestsOptions& o) {
  command.add_flag("--all", o.all, "with those that were answered or lapsed");
  command.add_option("--limit", o.limit, "at most so many");
}

Status requests(const Context& context, const RequestsOptions& options) {
  Query query;
  if (options.all) query.add("all", "true");
  DS01_TRY(const auto list, fetch_list(context, "/v1/requests", query, options.limit));
  print(context, list, [&] { return requests_view(list, context.style); });
  return {};
}

struct ApproveOptions {
  std::string id, duration;
};

void declare_approve(CLI::App& command, ApproveOptions& o) {
  command.add_option("id", o.id, "the request's id (r-3)")->required();
  command.add_option("duration", o.duration, "how long, if not as asked (90m, 1d12h)");
}

Status approve(const Context& context, const ApproveOptions& options) {
  json::object body;
  DS01_CHECK(add_duration(body, options.duration));
  return print_request(
      context, context.client.call("POST", "/v1/requests/" + options.id + "/approve", "", json::serialize(body)));
}

struct DenyOptions {
  std::string id, reason;
};

void declare_deny(CLI::App& command, DenyOptions& o) {
  command.add_option("id", o.id, "the request's id (r-3)")->required();
  command.add_option("--reason", o.reason, "why; the user is told")->required();
}

Status deny(const Context& context, const DenyOptions& options) {
  const json::object body{{"reason", options.reason}};
  return print_request(context,
                       context.client.call("POST", "/v1/requests/" + options.id + "/deny", "", json::serialize(body)));
}

}  // namespace

void add_request_commands(CommandSet& commands) {
  commands.add<RequestOptions>("request", "Ask for a grant", declare_request, request);
  commands.add<RequestsOptions>("requests", "Requests that wait: your own, or for an admin all", declare_requests,
                                requests);
  commands.add<ApproveOptions>("approve", "Grant what was asked for", declare_approve, approve);
  commands.add<DenyOptions>("deny", "Turn a request down", declare_deny, deny);
}

}  // namespace ds01::ctl
