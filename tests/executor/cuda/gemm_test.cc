// The three products of a linear layer against the CPU's, in both types; the layouts are what can
// be wrong here, so no two of T, in and out are equal.
#include "tests/executor/cuda/support.h"

namespace shardwright::testing {
namespace {

class GemmTest : public CudaOpsTest {
 protected:
  static constexpr int64_t kT = 24, kIn = 40, kOut = 18;
  // The sums of products of bf16 are exact to fp32 on both sides, and rounded once.
};

TEST_P(GemmTest, Linear) {
  Tensor x = typed(random(kT * kIn)), w = typed(random(kOut * kIn)), bias = typed(random(kOut));
  for (const bool with_bias : {false, true}) {
    Tensor y = typed_output(kT * kOut);
    both([&](Ops& ops, Side at) {
      ops.linear(at(x), at(w), with_bias ? at(bias) : nullptr, at(y), kT, kIn, kOut);
    });
    expect_same(y, rounding(), with_bias ? "with bias" : "without");
  }
}

TEST_P(GemmTest, InputGrad) {
  Tensor dy = typed(random(kT * kOut)), w = typed(random(kOut * kIn)), dx = typed_output(kT * kIn);
  both([&](Ops& ops, Side at) { ops.linear_input_grad(at(dy), at(w), at(dx), kT, kIn, kOut); });
  expect_same(dx, rounding());
}

// The host's stand-in for the library sums rows only when their number is even, so that both ways
// to the gradient of the bias are gone: in the product's pass, and in one of its own.
TEST_P(GemmTest, WeightGradAddsInFp32) {
  for (const int64_t out : {kOut, kOut - 1}) {
    Tensor dy = typed(random(kT * out)), x = typed(random(kT * kIn));
    for (const bool with_bias : {false, true}) {
      Tensor dw = floats(random(out * kIn)), dbias = floats(random(out));
      const std::vector<double> before = device_values(dbias);
      both([&](Ops& ops, Side at) {
        ops.linear_weight_grad(at(dy), at(x), at.floats(dw), with_bias ? at.floats(dbias) : nullptr,
                               kT, kIn, out);
      });
      expect_same(dw, kFp32Tolerance, "dw");
      expect_same(dbias, kFp32Tolerance, "dbias");
      EXPECT_EQ(device_values(dbias) == before, !with_bias);
    }
  }
}

TEST_P(GemmTest, NoTokens) {
  Tensor dw = floats(random(kOut * kIn)), none;
  const std::vector<double> before = device_values(dw);
  const Side at(true);
  cuda_->linear(at(none), at(none), nullptr, at(none), 0, kIn, kOut);
  cuda_->linear_weight_grad(at(none), at(none), at.floats(dw), nullptr, 0, kIn, kOut);
  EXPECT_EQ(device_values(dw), before);
}

INSTANTIATE_TEST_SUITE_P(Types, GemmTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
