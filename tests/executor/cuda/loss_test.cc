#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

// A vocabulary of `vocab` in shards of `shard` columns: the last may hold fewer or none.
struct Case {
  int64_t vocab, shard, ranks, T;
};
std::string name(const Case& c) {
  return std::to_string(c.vocab) + " in " + std::to_string(c.ranks) + " x " +
         std::to_string(c.shard);
}
// Rows that start on every offset from 16 bytes; one column; more packs than a block has threads
// (512 x 8); more tokens than a block of loss_combine; a rank of padding only.
constexpr Case kCases[] = {{100, 40, 3, 9},    {1, 1, 1, 1},       {7, 7, 1, 5},    {50, 64, 1, 3},
                           {4203, 4203, 1, 9}, {9001, 4501, 2, 3}, {12, 12, 2, 300}};

class LossKernelTest : public KernelTest {
 protected:
  static int64_t valid(const Case& c, int64_t rank) {
    return std::clamp<int64_t>(c.vocab - rank * c.shard, 0, c.shard);
  }
  // The rank's columns of `logits`; padding is NaN, so that reading it shows.
  static Floats shard(const Case& c, const Floats& logits, int64_t rank) {
    Floats out = poisoned(c.T * c.shard);
    for (int64_t t = 0; t < c.T; ++t) {
      for (int64_t i = 0; i < valid(c, rank); ++i) {
        out[t * c.shard + i] = logits[t * c.vocab + rank * c.shard + i];
      }
    }
    return out;
  }
};

TEST_P(LossKernelTest, ShardedLossAndGradient) {
  for (const Case& c : kCases) {
    const Floats logits = random(c.T * c.vocab, 20);
    Tokens targets = random_tokens(c.T, static_cast<int32_t>(c.vocab));
    targets.back() = static_cast<int32_t>(c.vocab - 1);  // the last column
    targets.front() = 0;
    const int32_t* targets_d = put_tokens(targets);
    const int64_t parts_of_rank = 3 * c.T;
    Floats parts = poisoned(c.ranks * parts_of_rank), lse = poisoned(c.T);
    const DeviceArray parts_d = put_fp32(parts), lse_d = put_fp32(lse);
    for (int64_t rank = 0; rank < c.ranks; ++rank) {
      const Floats z = shard(c, logits, rank);
      const DeviceArray z_d = put(z);
      cpu_->loss_local(z.data(), targets.data(), rank * c.shard, valid(c, rank), c.shard,
                       &parts[rank * parts_of_rank], c.T);
      cuda_->loss_local(z_d.get(), targets_d, rank * c.shard, valid(c, rank), c.shard,
                        parts_d.floats() + rank * parts_of_rank, c.T);
    }
    const Floats parts_read = parts_d.read();
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i % 3 == 1) {  // a sum of up to 9001 terms: 1e-5
        ASSERT_NEAR(parts_read[i], parts[i], 1e-5 * parts[i]) << name(c) << " part " << i;
      } else {
        ASSERT_EQ(parts_read[i], parts[i]) << name(c) << " part " << i;
      }
    }

    double loss = 0;
    cpu_->loss_combine(parts.data(), c.ranks, lse.data(), c.T, &loss);
    auto* loss_d = static_cast<double*>(cuda_->allocate(8));
    const double before = 2.5;  // it adds
    cuda_->upload(loss_d, &before, 8);
    cuda_->loss_combine(parts_d.floats(), c.ranks, lse_d.floats(), c.T, loss_d);
    double loss_read = 0;
    cuda_->download(&loss_read, loss_d, 8);
    EXPECT_NEAR(loss_read, loss + 2.5, 1e-5 * (loss + 1)) << name(c);
    expect_near(lse_d.read(), lse, DataType::kFp32, "lse " + name(c));

    const float scale = 0.25f;
    lse_d.write(lse);
    for (int64_t rank = 0; rank < c.ranks; ++rank) {
      Floats z = shard(c, logits, rank);
      const DeviceArray z_d = put(z);
      cpu_->loss_grad(z.data(), targets.data(), rank * c.shard, valid(c, rank), c.shard, lse.data(),
                      scale, c.T);
      cuda_->loss_grad(z_d.get(), targets_d, rank * c.shard, valid(c, rank), c.shard,
                       lse_d.floats(), scale, c.T);
      // exp(z - lse) with |z - lse| up to 40: the rounding of the difference is 40 * 6e-8, that of
      // its product with log2(e) as much again.
      expect_near(z_d.read(), z, type(), "gradient " + name(c), 1e-5);
    }
  }
}

// Masked logits are -infinity; a thread may see nothing else, and the maximum may come last.
TEST_P(LossKernelTest, MaskedLogitsCountNothing) {
  const int64_t n = 5000;
  Floats z(n, -std::numeric_limits<float>::infinity());
  z[n - 1] = 3;
  z[17] = 3;
  const DeviceArray z_d = put(z), parts_d = put_fp32(poisoned(3));
  cuda_->loss_local(z_d.get(), put_tokens({17}), 0, n, n, parts_d.floats(), 1);
  EXPECT_EQ(parts_d.read(), (Floats{3, 2, 3}));
}

TEST_P(LossKernelTest, TargetAmongPaddingIsForeign) {
  const DeviceArray z_d = put({0, 0, 7, 7}), parts_d = put_fp32(poisoned(3));
  const DeviceArray lse_d = put_fp32({0});
  const int32_t* targets_d = put_tokens({2});
  cuda_->loss_local(z_d.get(), targets_d, 0, 2, 4, parts_d.floats(), 1);
  EXPECT_EQ(parts_d.read(), (Floats{0, 2, 0}));
  cuda_->loss_grad(z_d.get(), targets_d, 0, 2, 4, lse_d.floats(), 1.0f, 1);
  EXPECT_EQ(z_d.read(), (Floats{1, 1, 0, 0}));
}

// The shares of a padded vocabulary against the CPU's one row of real columns. Nothing of the
// padding is read (it holds NaN), and its gradient is zero.
TEST_P(LossKernelTest, PaddedSharesEqualTheRealColumns) {
  const int64_t T = 5, vocab = 257;
  for (const auto& [ranks, share] : {std::pair{1, 384}, std::pair{2, 256}, std::pair{4, 128}}) {
    const Case padded{vocab, share, ranks, T};
    const Floats logits = random(T * vocab, 21);
    const Tokens targets = {0, 256, 127, 128, 255};
    Floats parts(3 * T), lse(T), expected = logits;
    double loss = 0;
    cpu_->loss_local(logits.data(), targets.data(), 0, vocab, vocab, parts.data(), T);
    cpu_->loss_combine(parts.data(), 1, lse.data(), T, &loss);
    cpu_->loss_grad(expected.data(), targets.data(), 0, vocab, vocab, lse.data(), 0.5f, T);

    const int32_t* targets_d = put_tokens(targets);
    const DeviceArray parts_d = put_fp32(poisoned(ranks * 3 * T)), lse_d = put_fp32(poisoned(T));
    auto* loss_d = static_cast<double*>(cuda_->allocate(8));
    cuda_->zero(loss_d, 8);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const DeviceArray z_d = put(shard(padded, logits, rank));
      cuda_->loss_local(z_d.get(), targets_d, rank * share, valid(padded, rank), share,
                        parts_d.floats() + rank * 3 * T, T);
    }
    cuda_->loss_combine(parts_d.floats(), ranks, lse_d.floats(), T, loss_d);
    double loss_read = 0;
    cuda_->download(&loss_read, loss_d, 8);
    EXPECT_NEAR(loss_read, loss, 1e-5 * loss) << name(padded);
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const DeviceArray z_d = put(shard(padded, logits, rank));
      cuda_->loss_grad(z_d.get(), targets_d, rank * share, valid(padded, rank), share,
                       lse_d.floats(), 0.5f, T);
      const Floats found = z_d.read();
      Floats wanted(T * share, 0.0f), padding;
      for (int64_t t = 0; t < T; ++t) {
        for (int64_t i = 0; i < share; ++i) {
          if (i < valid(padded, rank)) {
            wanted[t * share + i] = expected[t * vocab + rank * share + i];
          } else {
            padding.push_back(found[t * share + i]);
          }
        }
      }
      // As in ShardedLossAndGradient.
      expect_near(found, wanted, type(), "gradient " + name(padded), 1e-5);
      EXPECT_EQ(padding, Floats(padding.size(), 0.0f)) << name(padded) << " rank " << rank;
    }
  }
}

TEST_P(LossKernelTest, NaNIsNotSwallowed) {
  Floats z(100, 1.0f);
  z[40] = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray z_d = put(z), parts_d = put_fp32(poisoned(3));
  cuda_->loss_local(z_d.get(), put_tokens({3}), 0, 100, 100, parts_d.floats(), 1);
  EXPECT_TRUE(std::isnan(parts_d.read()[1]));
}

TEST_P(LossKernelTest, NoTokensAreNoWork) {
  device_.forget_calls();
  cuda_->loss_local(nullptr, nullptr, 0, 8, 8, nullptr, 0);
  cuda_->loss_combine(nullptr, 2, nullptr, 0, nullptr);
  cuda_->loss_grad(nullptr, nullptr, 0, 8, 8, nullptr, 1.0f, 0);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, LossKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
