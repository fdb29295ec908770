#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

struct Case {
  AttentionShape shape;  // batch, seq, heads, kv_heads, head_dim
  int64_t rotary_dim, offset;
};
std::string name(const Case& c) {
  return "heads of " + std::to_string(c.shape.head_dim) + ", " + std::to_string(c.rotary_dim) +
         " rotated, at " + std::to_string(c.offset);
}

class RopeKernelTest : public KernelTest {};

TEST_P(RopeKernelTest, RotatesAsTheCpuDoesAndBack) {
  // Whole and part of a head, odd numbers of pairs, more packs than a block has threads (8 + 2
  // heads of 128 dims one by one: 640), heads that are not aligned.
  const std::vector<Case> cases = {{{2, 5, 4, 2, 64}, 64, 0},   {{1, 9, 3, 1, 64}, 16, 0},
                                   {{2, 3, 2, 2, 10}, 6, 0},    {{1, 4, 8, 2, 128}, 128, 1},
                                   {{1, 4, 8, 2, 128}, 128, 0}, {{1, 3, 1, 1, 2}, 2, 0},
                                   {{1, 2, 1, 1, 256}, 256, 0}};
  for (const Case& c : cases) {
    const int64_t n = c.shape.batch * c.shape.seq * c.shape.qkv_width();
    const Floats qkv = random(n);
    for (const bool inverse : {false, true}) {
      Floats turned = qkv;
      cpu_->rope(turned.data(), c.shape, c.rotary_dim, 10000.0f, inverse);
      const DeviceArray qkv_d = put(qkv, c.offset);
      cuda_->rope(qkv_d.get(), c.shape, c.rotary_dim, 10000.0f, inverse);
      expect_near(qkv_d.read(), turned, type(), name(c));
    }
  }
}

// Positions in the tens of thousands, where an angle in float would be off by a hundredth; every
// quadrant. q is (1, 0) in every pair, so that its rotation is (cos, sin).
TEST_P(RopeKernelTest, LongPositionsKeepTheirAngle) {
  const AttentionShape shape{1, 40000, 1, 1, 4};
  Floats qkv(shape.seq * shape.qkv_width());
  for (int64_t t = 0; t < shape.seq; ++t) qkv[t * 12] = qkv[t * 12 + 1] = 1;
  const DeviceArray qkv_d = put(qkv);
  cuda_->rope(qkv_d.get(), shape, 4, 10000.0f, false);
  const Floats out = qkv_d.read();
  for (int64_t t = 0; t < shape.seq; t += 97) {
    for (int64_t i = 0; i < 2; ++i) {
      const double angle =
          static_cast<double>(t) * std::pow(10000.0, -0.5 * static_cast<double>(i));
      const double error = type() == DataType::kBf16 ? kBf16Rounding : 2e-7;
      ASSERT_NEAR(out[t * 12 + i], std::cos(angle), error) << t;
      ASSERT_NEAR(out[t * 12 + i + 2], std::sin(angle), error) << t;
    }
  }
}

TEST_P(RopeKernelTest, NoTokensAreNoWork) {
  device_.forget_calls();
  cuda_->rope(nullptr, {0, 8, 1, 1, 8}, 8, 10000.0f, false);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, RopeKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
