// SPDX-License-Identifier: Apache-2.0
// A grants::Service on a real store, a fake kernel, clock, accounts and cgroup tree, with two GPUs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fakes.h"
#include "grants/requests.h"
#include "grants/service.h"

namespace ds01::grants {

using namespace std::chrono_literals;

inline std::vector<std::string> ids(const std::vector<Grant>& grants) {
  std::vector<std::string> ids;
  for (const auto& grant : grants) ids.push_back(grant.id());
  return ids;
}
inline std::vector<std::string> ids(const Result<std::vector<Grant>>& grants) {
  EXPECT_EQ(fake::message(grants), "");
  return ids(grants.value_or(std::vector<Grant>{}));
}

class ServiceTest : public ::testing::Test {
 protected:
  // What lives as long as one run of the agent.
  struct Agent {
    database::Database database;
    Store store;
    Service service;
    Requests requests;
    Result<std::vector<AccountChange>> loaded;

    explicit Agent(ServiceTest& test)
        : database(test.file_),
          store(database, test.clock_),
          service({test.kernel_, store, test.clock_, test.users_, test.cgroups_, [&test] { return test.gpus_; },
                   [&test] { return test.caps_; }},
                  test.settings_, test.leads_),
          requests({service, store, test.clock_, test.users_}, test.settings_),
          loaded(service.load()) {
      EXPECT_EQ(requests.load().has_value(), loaded.has_value());
    }
  };

  Service& service() { return agent_->service; }
  Requests& requests() { return agent_->requests; }
  // Another run of the agent on the same file and kernel.
  Agent& restart() {
    agent_.reset();
    agent_ = std::make_unique<Agent>(*this);
    return *agent_;
  }
  // And of the machine.
  Agent& reboot(std::chrono::nanoseconds off = 1min) {
    kernel_.map.clear();
    clock_.reboot(off);
    return restart();
  }
  void configure() {
    service().configure(settings_, leads_);
    requests().configure(settings_);
  }

  static GrantRequest request(std::string subject, AskedEnd end = {}, std::string gpus = "all") {
    GrantRequest request;
    request.subject = std::move(subject);
    request.end = end;
    request.gpus = std::move(gpus);
    return request;
  }
  Result<Grant> grant(const GrantRequest& request) { return service().grant(request, actor_); }
  Result<Grant> grant(std::string subject, AskedEnd end = {}, std::string gpus = "all") {
    return grant(request(std::move(subject), end, std::move(gpus)));
  }
  // Grants, or fails the test.
  Grant granted(std::string subject, AskedEnd end = {}, std::string gpus = "all") {
    auto result = grant(std::move(subject), end, std::move(gpus));
    EXPECT_EQ(fake::message(result), "");
    return result.value_or(Grant{});
  }
  Result<Grant> revoke(const std::string& subject_or_id) { return service().revoke(subject_or_id, actor_, ""); }
  // What the store has, as a restart would read it.
  std::vector<Grant> stored() {
    auto living = agent_->store.living();
    EXPECT_EQ(fake::message(living), "");
    return living ? living->grants : std::vector<Grant>{};
  }
  // Every change of the store fails from here on, reading does not.
  void break_store() { ASSERT_TRUE(agent_->database.run("PRAGMA query_only = ON", {})); }
  void mend_store() { ASSERT_TRUE(agent_->database.run("PRAGMA query_only = OFF", {})); }

  const KernelGrant* in_kernel(uid_t uid) const { return in_kernel(DS01_SUBJECT_UID, uid); }
  const KernelGrant* in_kernel(std::uint32_t kind, std::uint64_t id) const {
    const auto found = kernel_.map.find({kind, id});
    return found == kernel_.map.end() ? nullptr : &found->second;
  }

  fake::KernelMap kernel_;
  fake::Clock clock_;
  fake::Users users_;
  fake::Folder root_;
  fake::Folder folder_;
  const std::filesystem::path file_ = folder_.path() / "ds01.db";
  identity::Cgroups cgroups_{root_.path()};
  std::vector<devices::Gpu> gpus_{{0, "GPU-aaaa"}, {1, "GPU-bbbb"}};
  devices::CapNames caps_{{"mig/gpu0/gi1/access", 30}, {"sys/fabric-imex-mgmt", 4321}};
  Actor actor_{0, "root", 1002};
  config::Grants settings_;
  Leads leads_{1h, 10min};
  std::unique_ptr<Agent> agent_ = std::make_unique<Agent>(*this);
};

}  // namespace ds01::grants
