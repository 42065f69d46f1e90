// SPDX-License-Identifier: Apache-2.0
// A grants::Service on a fake kernel, clock, accounts and cgroup tree, with two GPUs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fakes.h"
#include "grants/service.h"

namespace ds01::grants {

using namespace std::chrono_literals;

class ServiceTest : public ::testing::Test {
 protected:
  using EndOf = decltype(GrantRequest::end);

  static GrantRequest request(std::string subject, EndOf end = {}, std::string gpus = "all") {
    GrantRequest request;
    request.subject = std::move(subject);
    request.end = end;
    request.gpus = std::move(gpus);
    return request;
  }
  Result<Grant> grant(const GrantRequest& request) { return service_.grant(request, actor_); }
  Result<Grant> grant(std::string subject, EndOf end = {}, std::string gpus = "all") {
    return grant(request(std::move(subject), end, std::move(gpus)));
  }
  // Grants, or fails the test.
  Grant granted(std::string subject, EndOf end = {}, std::string gpus = "all") {
    auto result = grant(std::move(subject), end, std::move(gpus));
    EXPECT_EQ(fake::message(result), "");
    return result.value_or(Grant{});
  }
  const KernelGrant* in_kernel(uid_t uid) const { return in_kernel(DS01_SUBJECT_UID, uid); }
  const KernelGrant* in_kernel(std::uint32_t kind, std::uint64_t id) const {
    const auto found = kernel_.entries.find({kind, id});
    return found == kernel_.entries.end() ? nullptr : &found->second;
  }

  fake::KernelMap kernel_;
  fake::Clock clock_;
  fake::Users users_;
  fake::Folder root_;
  identity::Cgroups cgroups_{root_.path()};
  std::vector<devices::Gpu> gpus_{{0, "GPU-aaaa"}, {1, "GPU-bbbb"}};
  Actor actor_{0, "root", 1002};
  config::Grants settings_;
  Service service_{{kernel_, clock_, users_, cgroups_, [this] { return gpus_; }}, settings_};
};

}  // namespace ds01::grants
