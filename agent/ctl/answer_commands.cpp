// SPDX-License-Identifier: Apache-2.0
// holders: who has what open.
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

}  // namespace

void add_answer_commands(CommandSet& commands) {
  commands.add<HolderOptions>("holders", "Processes that have a GPU device open or mapped", declare_holders, holders);
}

}  // namespace ds01::ctl
