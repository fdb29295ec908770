#include "planner/search/replica_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

namespace shardwright {
namespace {

Plan plan_of(int64_t dp, int64_t micro_batch, int64_t microbatches) {
  Plan plan;
  plan.dp = dp;
  plan.micro_batch = micro_batch;
  plan.global_batch = microbatches * micro_batch;
  return plan;
}

// Three times as fast, three times as much.
TEST(ReplicaShares, GoBySpeed) {
  EXPECT_EQ(replica_shares(plan_of(2, 1, 8), {3, 1}), (std::vector<int64_t>{2, 6}));
  EXPECT_EQ(replica_shares(plan_of(4, 2, 16), {1, 1, 3, 3}), (std::vector<int64_t>{12, 12, 4, 4}));
  EXPECT_TRUE(replica_shares(plan_of(2, 1, 8), {1, 1}).empty());
  EXPECT_TRUE(replica_shares(plan_of(2, 4, 2), {9, 1}).empty());  // one microbatch each
}

// Of an interleaved pipeline every replica has a multiple of pp.
TEST(ReplicaShares, KeepToWhatTheScheduleTakes) {
  Plan plan = plan_of(2, 1, 16);
  plan.pp = 4;
  plan.virtual_stages = 2;
  EXPECT_EQ(replica_shares(plan, {3, 1}), (std::vector<int64_t>{4, 12}));
  plan.schedule = ScheduleKind::kDualPipeV;
  EXPECT_TRUE(replica_shares(plan, {3, 1}).empty());  // 8 each at least
}

// No other shares end earlier.
TEST(ReplicaShares, TheLastReplicaEndsAsEarlyAsItCan) {
  std::mt19937 random(3);
  int unlike = 0;
  for (int round = 0; round < 300; ++round) {
    const int64_t dp = 2 + static_cast<int64_t>(random() % 3);
    Plan plan = plan_of(dp, 1, dp + static_cast<int64_t>(random() % 12));
    plan.pp = 1 + static_cast<int64_t>(random() % 3);
    std::vector<double> seconds;
    for (int64_t i = 0; i < dp; ++i) seconds.push_back(1 + static_cast<double>(random() % 7));
    const auto time = [&](const std::vector<int64_t>& shares) {
      double longest = 0;
      for (size_t i = 0; i < shares.size(); ++i) {
        longest = std::max(longest, static_cast<double>(shares[i] + plan.pp - 1) * seconds[i]);
      }
      return longest;
    };
    double best = 1e9;
    std::vector<int64_t> shares(static_cast<size_t>(dp), 1);
    const std::function<void(size_t, int64_t)> all = [&](size_t i, int64_t left) {
      if (i + 1 == shares.size()) {
        shares[i] = left;
        if (left >= 1) best = std::min(best, time(shares));
        return;
      }
      for (shares[i] = 1; shares[i] < left; ++shares[i]) all(i + 1, left - shares[i]);
    };
    all(0, plan.global_batch);
    const std::vector<int64_t> found = replica_shares(plan, seconds);
    if (found.empty()) continue;
    ++unlike;
    EXPECT_EQ(std::accumulate(found.begin(), found.end(), int64_t{0}), plan.global_batch);
    EXPECT_NEAR(time(found), best, 1e-6);
  }
  EXPECT_GT(unlike, 150);
}

}  // namespace
}  // namespace shardwright
