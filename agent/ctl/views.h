// SPDX-License-Identifier: Apache-2.0
// From the API's JSON to what a person reads. Pure: the moment "now" and the style are passed in.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "ctl/table.h"

namespace ds01::ctl {

std::string grants_view(const boost::json::array& grants, const TableStyle& style);
std::string grant_view(const boost::json::value& grant);
std::string history_view(const boost::json::array& grants, const TableStyle& style);
std::string requests_view(const boost::json::array& requests, const TableStyle& style);
// What became of one request; of an approved one its grant, if that is with it.
std::string request_view(const boost::json::value& request);
std::string notices_view(const boost::json::array& notices);  // "" if there are none
std::string denials_view(const boost::json::array& denials, const TableStyle& style);
std::string holders_view(const boost::json::array& holders, const TableStyle& style);
std::string explain_view(const boost::json::value& explanation);
std::string status_view(const boost::json::value& status);
std::string mode_view(const boost::json::value& modes);
std::string whoami_view(const boost::json::value& caller);

}  // namespace ds01::ctl
