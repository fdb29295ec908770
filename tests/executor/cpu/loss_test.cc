#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

// A vocabulary of 100 padded to 3 shards of 40 columns: the last shard has 20 valid ones.
constexpr int64_t kVocab = 100, kShard = 40, kRanks = 3, kTokens = 9;

struct Shards {
  std::vector<Floats> logits;  // per rank [kTokens, kShard]; padding is NaN, so reading it shows
};

int64_t valid_columns(int64_t rank) { return std::min(kShard, kVocab - rank * kShard); }

Shards split(const Floats& logits) {
  Shards shards;
  for (int64_t rank = 0; rank < kRanks; ++rank) {
    Floats part = poisoned(kTokens * kShard);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < valid_columns(rank); ++i) {
        part[t * kShard + i] = logits[t * kVocab + rank * kShard + i];
      }
    }
    shards.logits.push_back(part);
  }
  return shards;
}

Doubles reference_lse(const Floats& logits) {
  Doubles lse;
  for (int64_t t = 0; t < kTokens; ++t) {
    double sum = 0;
    for (int64_t i = 0; i < kVocab; ++i) sum += std::exp(double{logits[t * kVocab + i]});
    lse.push_back(std::log(sum));
  }
  return lse;
}

TEST_F(CpuOpsTest, ShardedLossEqualsWholeLoss) {
  const Floats logits = random(kTokens * kVocab, 20);
  const std::vector<int32_t> targets = random_tokens(kTokens, kVocab);
  Shards shards = split(logits);
  Floats parts = poisoned(kRanks * kTokens * 3), lse = poisoned(kTokens);
  for (int64_t rank = 0; rank < kRanks; ++rank) {
    ops_->loss_local(shards.logits[rank].data(), targets.data(), rank * kShard, valid_columns(rank),
                     kShard, &parts[rank * kTokens * 3], kTokens);
  }
  double loss = 0;
  ops_->loss_combine(parts.data(), kRanks, lse.data(), kTokens, &loss);
  const Doubles lse_expected = reference_lse(logits);
  expect_close(lse, lse_expected);
  double expected = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    expected += lse_expected[t] - logits[t * kVocab + targets[t]];
  }
  EXPECT_NEAR(loss, expected, 1e-6 * expected);

  const float scale = 0.25f;
  for (int64_t rank = 0; rank < kRanks; ++rank) {
    Doubles grad_expected;
    for (int64_t at = 0; at < kTokens * kShard; ++at) {
      const int64_t t = at / kShard, column = rank * kShard + at % kShard;
      const bool real = at % kShard < valid_columns(rank);
      grad_expected.push_back(real ? (std::exp(logits[t * kVocab + column] - lse_expected[t]) -
                                      (column == targets[t])) *
                                         scale
                                   : 0);
    }
    ops_->loss_grad(shards.logits[rank].data(), targets.data(), rank * kShard, valid_columns(rank),
                    kShard, lse.data(), scale, kTokens);
    // exp(z - lse) with |z - lse| up to 40: the rounding of the difference is 40 * 6e-8.
    expect_close(shards.logits[rank], grad_expected, 5e-6);
  }
}

// A rank whose columns are all padding takes part with nothing.
TEST_F(CpuOpsTest, RankOfPaddingOnlyAddsNothing) {
  const Floats logits = {1, 2, 3};
  Floats padding = poisoned(2), parts = poisoned(6), lse = poisoned(1);
  const std::vector<int32_t> targets = {2};
  ops_->loss_local(logits.data(), targets.data(), 0, 3, 3, parts.data(), 1);
  ops_->loss_local(padding.data(), targets.data(), 3, 0, 2, &parts[3], 1);
  double loss = 1;  // is added to
  ops_->loss_combine(parts.data(), 2, lse.data(), 1, &loss);
  EXPECT_NEAR(loss - 1, std::log(std::exp(-2.0) + std::exp(-1.0) + 1), 1e-6);
  ops_->loss_grad(padding.data(), targets.data(), 3, 0, 2, lse.data(), 1.0f, 1);
  EXPECT_EQ(padding, (Floats{0, 0}));
}

// With lse = 0 and scale = 1 the gradient is exp itself: its accuracy over the whole range.
TEST_F(CpuOpsTest, ExponentialIsAccurate) {
  Floats z;
  for (double x = -87.2; x < 88; x += 0.00137) z.push_back(static_cast<float>(x));
  const Floats x = z, lse = {0};
  const auto n = static_cast<int64_t>(z.size());
  const std::vector<int32_t> nowhere = {-1};
  ops_->loss_grad(z.data(), nowhere.data(), 0, n, n, lse.data(), 1.0f, 1);
  for (size_t i = 0; i < z.size(); ++i) {
    const double expected = std::exp(double{x[i]});
    ASSERT_LE(std::fabs(z[i] - expected), 2 * 1.2e-7 * expected) << "exp(" << x[i] << ")";
  }
}

}  // namespace
}  // namespace shardwright::testing
