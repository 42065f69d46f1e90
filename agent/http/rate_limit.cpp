// SPDX-License-Identifier: Apache-2.0
#include "http/rate_limit.h"

#include <algorithm>

namespace ds01::http {

bool RateLimit::allow(uid_t uid, Time now) {
  if (buckets_.size() >= prune_at_) forget_full(now);
  Bucket& bucket = buckets_.try_emplace(uid, Bucket{burst_, now}).first->second;
  bucket = {tokens_at(bucket, now), now};
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

double RateLimit::tokens_at(const Bucket& bucket, Time now) const {
  const std::chrono::duration<double> passed = now - bucket.filled;
  return std::min(burst_, bucket.tokens + passed.count() * per_second_);
}

void RateLimit::forget_full(Time now) {
  std::erase_if(buckets_, [&](const auto& entry) { return tokens_at(entry.second, now) >= burst_; });
  prune_at_ = std::max(kPruneAtLeast, 2 * buckets_.size());  // so that the walk costs each request next to nothing
}

}  // namespace ds01::http
