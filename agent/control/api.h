// SPDX-License-Identifier: Apache-2.0
// The control API: from an HTTP request of a known peer to a response. Needs no socket, so tests call it directly.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "audit/trail.h"
#include "authz/authz.h"
#include "enforcer/enforcer.h"
#include "grants/service.h"
#include "http/http.h"

namespace ds01::control {

class Api {
 public:
  struct Deps {
    enforcer::Enforcer& enforcer;
    grants::Service& grants;
    audit::Trail& trail;
    const Clock& clock;
    const identity::Users& users;
    WallTime started;
    std::function<void()> on_change;  // a grant or the mode changed: timers may be due earlier
  };
  explicit Api(Deps deps) : deps_(std::move(deps)) {}

  http::Response handle(const authz::Caller& caller, const http::Request& request);

 private:
  using Reply = Result<http::Response>;
  struct Call {
    const authz::Caller& caller;
    const http::Request& request;
    std::map<std::string, std::string> query;
    std::string rest;  // what the path holds behind the route's prefix
  };
  struct Route {
    std::string_view method;
    std::string_view path;  // ends in '/': a prefix, and something must follow
    bool admin;
    Reply (Api::*handler)(const Call&);
    std::string_view query_keys;  // the ones it takes, separated by spaces
  };
  static const Route kRoutes[];

  Reply dispatch(const authz::Caller& caller, const http::Request& request);
  Reply run(const Route& route, Call call);

  Reply get_status(const Call& call);
  Reply get_health(const Call& call);
  Reply get_metrics(const Call& call);
  Reply get_mode(const Call& call);
  Reply put_mode(const Call& call);
  Reply get_whoami(const Call& call);
  Reply get_denials(const Call& call);
  Reply list_grants(const Call& call);
  Reply get_grant(const Call& call);
  Reply post_grant(const Call& call);
  Reply delete_grant(const Call& call);

  Deps deps_;
};

}  // namespace ds01::control
