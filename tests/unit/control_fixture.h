// SPDX-License-Identifier: Apache-2.0
// The API, called directly, on a store of its own. The kernel side is not there, which the API must say; grants go to a
// fake one.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "control/api.h"
#include "fakes.h"

namespace ds01::control {

using namespace std::chrono_literals;

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() { EXPECT_TRUE(grants_.load() && requests_.load() && grants_.sync()); }

  static config::Audit to_file(const std::filesystem::path& file) {
    config::Audit settings;
    settings.journald = false;
    settings.json = file;
    return settings;
  }
  http::Response send(const std::string& method, const std::string& path, const std::string& query = "",
                      const std::string& body = "") {
    return api_.handle(caller_, {method, path, query, body});
  }
  // The body of an answer with this status.
  static boost::json::value expect(unsigned status, const http::Response& response) {
    EXPECT_EQ(response.status, status) << response.body;
    boost::system::error_code error;
    auto body = boost::json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return body;
  }
  static std::string refused(unsigned status, const http::Response& response) {
    const auto body = expect(status, response);
    return body.is_object() && body.as_object().contains("error")
               ? std::string(body.at("error").at("message").as_string())
               : "";
  }
  std::string audit() const { return folder_.read("audit.jsonl"); }
  grants::Grant grant(const std::string& subject) {
    grants::GrantRequest request;
    request.subject = subject;
    auto grant = grants_.grant(request, {0, "root", std::nullopt});
    EXPECT_EQ(fake::message(grant), "");
    return grant.value_or(grants::Grant{});
  }
  void revoke(const std::string& subject) { EXPECT_TRUE(grants_.revoke(subject, {0, "root", std::nullopt}, "")); }
  // A request of the caller; its id.
  std::string ask(const std::string& reason = "thesis") {
    const auto asked = expect(201, send("POST", "/v1/requests", "", R"({"reason": ")" + reason + "\"}"));
    return std::string(asked.at("id").as_string());
  }
  // What the person was told and did not see yet; nobody here has a terminal.
  std::vector<std::string> notices(uid_t uid) const {
    std::vector<std::string> texts;
    const auto pending = notifier_.pending(uid);
    EXPECT_EQ(fake::message(pending), "");
    for (const auto& notice : pending.value_or(std::vector<notify::Notice>{})) texts.push_back(notice.text);
    return texts;
  }
  void be(uid_t uid, const std::string& name) { caller_ = {{uid, name, uid}, 77, false, true, "/user.slice"}; }
  void be_admin() { caller_ = {{0, "root", 1002}, 5, true, true, "/"}; }

  fake::Folder folder_;
  fake::Clock clock_;
  fake::Users users_;
  fake::KernelMap kernel_;
  fake::Source source_;
  identity::Cgroups cgroups_{folder_.make("cgroup")};
  database::Database database_{folder_.path() / "ds01.db"};
  enforcer::Enforcer enforcer_{{clock_,
                                users_,
                                cgroups_,
                                database_,
                                {folder_.path(), folder_.path(), folder_.path(), folder_.path(), folder_.path()},
                                [](const ds01_event&) {}},
                               {}};
  grants::Store store_{database_, clock_};
  grants::Service grants_{{kernel_, store_, clock_, users_, cgroups_, [] { return std::vector<devices::Gpu>{}; },
                           [] { return devices::CapNames{}; }},
                          {},
                          {}};
  grants::Requests requests_{{grants_, store_, clock_, users_}, {}};
  audit::Trail trail_{{clock_, users_, cgroups_, "/proc", [](const Error& error) { ADD_FAILURE() << error.message; }},
                      to_file(folder_.path() / "audit.jsonl")};
  notify::Notifier notifier_{{database_, clock_, folder_.path() / "dev", folder_.path() / "utmp",
                              [](uid_t) { return std::vector<std::string>{}; }}};
  notify::Announcer announcer_{{notifier_, clock_, [](uid_t, const std::string&, const Result<notify::Delivery>&) {}}};
  int changes_ = 0;
  std::vector<std::uint64_t> revoked_;
  Api api_{{enforcer_, grants_, requests_, trail_, notifier_, announcer_, database_, clock_, users_, cgroups_, source_,
            folder_.path() / "proc", clock_.wall(),
            [this](const grants::Grant& grant) { revoked_.push_back(grant.number); }, [this] { ++changes_; }}};
  authz::Caller caller_{{1000, "alice", 1000}, 77, false, true, "/user.slice"};
};

}  // namespace ds01::control
