// SPDX-License-Identifier: Apache-2.0
// One request to the agent, by whichever socket the caller may use.
#pragma once

#include <filesystem>
#include <string>

#include <boost/json/fwd.hpp>
#include <boost/json/value.hpp>

#include "core/result.h"

namespace ds01::ctl {

struct Reply {
  boost::json::value value;
  std::string next_cursor;
};

class Client {
 public:
  explicit Client(std::filesystem::path runtime) : runtime_(std::move(runtime)) {}

  // Tries admin.sock first. A caller who may not connect there is served by agent.sock, which knows what is theirs and
  // refuses (and logs) the rest. The agent's own errors come back as they are.
  Result<Reply> call(const std::string& method, const std::string& path, const std::string& query = "",
                     const std::string& body = "") const;
  // What concerns oneself, by agent.sock alone, and for a second at most: for login scripts, which must not wait.
  Result<Reply> call_quickly(const std::string& method, const std::string& path, const std::string& body = "") const;

 private:
  std::filesystem::path runtime_;
};

}  // namespace ds01::ctl
