// SPDX-License-Identifier: Apache-2.0
// A token bucket per uid. Time is handed in, so tests need no sleeps. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <unordered_map>

namespace ds01::http {

class RateLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  RateLimit(double per_second, double burst) : per_second_(per_second), burst_(burst) {}

  // Takes a token of `uid`; false when there is none.
  bool allow(uid_t uid, Time now);

  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens;
    Time filled;
  };

  // A user namespace can produce any number of uids, each with a bucket; a full one is as good as none.
  static constexpr std::size_t kPruneAtLeast = 1024;

  double tokens_at(const Bucket& bucket, Time now) const;
  void forget_full(Time now);

  double per_second_;
  double burst_;
  std::unordered_map<uid_t, Bucket> buckets_;
  std::size_t prune_at_ = kPruneAtLeast;
};

}  // namespace ds01::http
