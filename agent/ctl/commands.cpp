// SPDX-License-Identifier: Apache-2.0
#include "ctl/commands.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "core/clock.h"
#include "ctl/command.h"
#include "http/http.h"

namespace ds01::ctl {

namespace json = boost::json;

void print(const Context& context, const json::value& value, const std::function<std::string()>& view) {
  fmt::print("{}", context.json ? json::serialize(value) + "\n" : view());
}

void Query::add(std::string_view key, const std::string& value) {
  if (!value.empty()) text += fmt::format("{}{}={}", text.empty() ? "" : "&", key, http::percent_encode(value));
}

Status Query::add_time(std::string_view key, const std::string& value) {
  if (value.empty()) return {};
  DS01_TRY(const auto time, parse_time(value));
  add(key, format_utc(time));
  return {};
}

Result<json::array> fetch_list(const Context& context, const std::string& path, const Query& query, std::size_t limit) {
  json::array list;
  std::string cursor;
  do {
    Query page = query;
    if (limit != 0) page.add("limit", std::to_string(limit));
    page.add("cursor", cursor);
    DS01_TRY(auto reply, context.client.call("GET", path, page.text));
    for (auto& entry : reply.value.as_array()) list.push_back(std::move(entry));
    cursor = reply.next_cursor;
  } while (!cursor.empty() && limit == 0);
  return list;
}

Status add_duration(json::object& body, const std::string& text) {
  if (text.empty()) return {};
  DS01_TRY(const auto duration, parse_duration(text));
  body["duration_s"] = duration.count();
  return {};
}

void add_commands(CLI::App& app, Context& context, std::optional<Status>& outcome) {
  CommandSet commands(app, context, outcome);
  add_grant_commands(commands);
  add_request_commands(commands);
  add_whoami_command(commands);
  add_status_commands(commands);
  add_answer_commands(commands);
}

}  // namespace ds01::ctl
