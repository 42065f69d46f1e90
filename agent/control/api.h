// SPDX-License-Identifier: Apache-2.0
// The control API: from an HTTP request of a known peer to a response. Needs no socket, so tests call it directly.
#pragma once

#include <boost/json/fwd.hpp>
#include <functional>
#include <optional>
#include <string>

#include "audit/trail.h"
#include "authz/authz.h"
#include "control/access.h"
#include "control/exchange.h"
#include "control/explain.h"
#include "control/target.h"
#include "database/database.h"
#include "enforcer/enforcer.h"
#include "grants/requests.h"
#include "grants/service.h"
#include "holders/source.h"
#include "http/http.h"
#include "notify/announcer.h"
#include "notify/notifier.h"

namespace ds01::control {

class Api {
 public:
  struct Deps {
    enforcer::Enforcer& enforcer;
    grants::Service& grants;
    grants::Requests& requests;
    audit::Trail& trail;
    notify::Notifier& notifier;
    notify::Announcer& announcer;
    database::Database& database;
    const Clock& clock;
    const identity::Users& users;
    const identity::Cgroups& cgroups;
    const holders::Source& source;  // what the kernel says of other processes
    std::filesystem::path proc;
    WallTime started;
    std::function<void(const grants::Grant&)> on_revoked;
    std::function<void()> on_change;  // a grant, a request or the mode changed: timers may be due earlier
  };
  explicit Api(Deps deps) : deps_(std::move(deps)) {}

  http::Response handle(const authz::Caller& caller, const http::Request& request);

 private:
  using Reply = Result<http::Response>;
  struct Call {
    const authz::Caller& caller;
    const http::Request& request;
    Query query;
    std::string rest;  // what the path holds where the route has its '*'
  };
  struct Route {
    std::string_view method;
    std::string_view path;  // '*', once at most: something must stand there, slashes are part of it
    bool admin;
    Reply (Api::*handler)(const Call&);
    std::string_view query_keys;  // the ones it takes, separated by spaces
  };
  static const Route kRoutes[];

  Reply dispatch(const authz::Caller& caller, const http::Request& request);
  Reply run(const Route& route, const Call& call);
  // What only processes on the host may do, as uids count for nothing in a container.
  Status check_on_host(const Call& call, std::string_view what);
  // Whose `what` the caller asks to see: an admin anybody's or all (none), others their own.
  Result<std::optional<uid_t>> whose(const Call& call, std::string_view what) const;

  // api.cpp
  Reply get_status(const Call& call);
  Reply get_health(const Call& call);
  Reply get_metrics(const Call& call);
  Reply get_mode(const Call& call);
  Reply put_mode(const Call& call);
  Reply get_denials(const Call& call);

  // api_grants.cpp
  Reply list_grants(const Call& call);
  Reply get_grant(const Call& call);
  Reply post_grant(const Call& call);
  Reply extend_grant(const Call& call);
  Reply delete_grant(const Call& call);
  Reply get_history(const Call& call);
  // `before` is the number of the subject's grant until then, or 0. It is another one where the account of that uid has
  // changed: then the old one has ended.
  void record_grant(const grants::Grant& grant, std::uint64_t before);

  // api_requests.cpp
  Reply list_requests(const Call& call);
  Reply get_request(const Call& call);
  Reply post_request(const Call& call);
  Reply approve_request(const Call& call);
  Reply deny_request(const Call& call);
  std::uint64_t living_number(uid_t uid) const;  // of the uid's grant, or 0

  // api_answers.cpp
  Reply get_holders(const Call& call);

  // api_explain.cpp
  Reply get_explain(const Call& call);
  Result<Questioned> questioned_user(const Call& call) const;
  Result<Questioned> questioned_process(const Call& call) const;
  Result<Access> gate_on(const Questioned& who, const Target& target) const;

  // api_self.cpp
  Reply get_whoami(const Call& call);
  Reply post_seen(const Call& call);
  boost::json::array notices_for(const authz::Caller& caller) const;

  Deps deps_;
};

}  // namespace ds01::control
