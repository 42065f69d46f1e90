// SPDX-License-Identifier: Apache-2.0
// holders: who has what open. explain: why somebody may open a device or not.
#include <boost/json.hpp>

#include "ctl/command.h"
#include "ctl/views.h"

namespace ds01::ctl {
namespace {

struct HolderOptions {
  std::string device;
};

void declare_holders(CLI::App& command, HolderOptions& o) {
  command.add_option("device", o.device, "only this one: gpu0, or a path such as /dev/nvidiactl");
}

Status holders(const Context& context, const HolderOptions& options) {
  Query query;
  query.add("device", options.device);
  DS01_TRY(const auto reply, context.client.call("GET", "/v1/holders", query.text));
  print(context, reply.value, [&] { return holders_view(reply.value.as_array(), context.style); });
  return {};
}

struct ExplainOptions {
  std::string subject, device;
};

void declare_explain(CLI::App& command, ExplainOptions& o) {
  command.add_option("subject", o.subject, "a user, uid:N, or the id of a process")->required();
  command.add_option("device", o.device, "gpu0, or a path such as /dev/nvidiactl; /dev/nvidia0 if not given");
}

Status explain(const Context& context, const ExplainOptions& options) {
  Query query;
  const bool process = options.subject.find_first_not_of("0123456789") == std::string::npos;
  query.add(process ? "pid" : "user", options.subject);
  query.add("device", options.device);
  DS01_TRY(const auto reply, context.client.call("GET", "/v1/explain", query.text));
  print(context, reply.value, [&] { return explain_view(reply.value); });
  return {};
}

}  // namespace

void add_answer_commands(CommandSet& commands) {
  commands.add<HolderOptions>("holders", "Processes that have a GPU device open or mapped", declare_holders, holders);
  commands.add<ExplainOptions>("explain", "Why a user or process may open a device or not, and what to do",
                               declare_explain, explain);
}

}  // namespace ds01::ctl
