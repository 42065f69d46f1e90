// SPDX-License-Identifier: Apache-2.0
// status, mode, denials.
#include <boost/json.hpp>

#include "core/clock.h"
#include "ctl/command.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

namespace json = boost::json;

struct NoOptions {};

Status status(const Context& context, const NoOptions&) {
  DS01_TRY(const auto reply, context.client.call("GET", "/v1/status"));
  print(context, reply.value, [&] { return status_view(reply.value); });
  return {};
}

struct ModeOptions {
  std::string mode, gate = "gpu", lasting;
  bool reset = false;
};

void declare_mode(CLI::App& command, ModeOptions& o) {
  auto* mode = command.add_option("mode", o.mode, "disabled, monitoring or full")
                   ->check(CLI::IsMember({"disabled", "monitoring", "full"}));
  command.add_flag("--default", o.reset, "back to the configured mode")->excludes(mode);
  command.add_option("--for", o.lasting, "only for so long (1h); then the configured mode")->needs(mode);
  command.add_option("--gate", o.gate, "which gate")->check(CLI::IsMember({"gpu"}));
}

Status mode(const Context& context, const ModeOptions& options) {
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
  DS01_TRY(const auto reply, context.client.call(method, "/v1/mode", "", body));
  print(context, reply.value, [&] { return mode_view(reply.value); });
  return {};
}

struct DenialOptions {
  std::string user, since;
};

void declare_denials(CLI::App& command, DenialOptions& o) {
  command.add_option("--user", o.user, "of this user only");
  command.add_option("--since", o.since, "with a denial after this time");
}

Status denials(const Context& context, const DenialOptions& options) {
  Query query;
  query.add("user", options.user);
  DS01_CHECK(query.add_time("since", options.since));
  DS01_TRY(const auto reply, context.client.call("GET", "/v1/denials", query.text));
  print(context, reply.value, [&] { return denials_view(reply.value.as_array(), context.style); });
  return {};
}

}  // namespace

void add_status_commands(CommandSet& commands) {
  commands.add<NoOptions>("status", "What is enforced, and what was counted", [](CLI::App&, NoOptions&) {}, status);
  commands.add<ModeOptions>("mode", "Show the gate's mode, or set it", declare_mode, mode);
  commands.add<DenialOptions>("denials", "Exact counts of what was denied, or would be in monitoring mode",
                              declare_denials, denials);
}

}  // namespace ds01::ctl
