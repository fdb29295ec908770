#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

struct LinearShape {
  int64_t T, in, out;
};
class LinearTest : public CpuOpsTest, public ::testing::WithParamInterface<LinearShape> {};

TEST_P(LinearTest, ForwardAddsBias) {
  const auto [T, in, out] = GetParam();
  const Floats x = random(T * in), w = random(out * in), bias = random(out);
  for (const bool with_bias : {false, true}) {
    Doubles expected;
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = with_bias ? bias[o] : 0;
        for (int64_t i = 0; i < in; ++i) sum += double{x[t * in + i]} * w[o * in + i];
        expected.push_back(sum);
      }
    }
    Floats y = poisoned(T * out);
    ops_->linear(x.data(), w.data(), with_bias ? bias.data() : nullptr, y.data(), T, in, out);
    expect_close(y, expected);
  }
}

TEST_P(LinearTest, InputGradient) {
  const auto [T, in, out] = GetParam();
  const Floats dy = random(T * out), w = random(out * in);
  Doubles expected;
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (int64_t o = 0; o < out; ++o) sum += double{dy[t * out + o]} * w[o * in + i];
      expected.push_back(sum);
    }
  }
  Floats dx = poisoned(T * in);
  ops_->linear_input_grad(dy.data(), w.data(), dx.data(), T, in, out);
  expect_close(dx, expected);
}

TEST_P(LinearTest, WeightAndBiasGradientsAccumulate) {
  const auto [T, in, out] = GetParam();
  const Floats dy = random(T * out), x = random(T * in);
  Floats dw = random(out * in), dbias = random(out);
  Doubles expected_w = to_doubles(dw), expected_bias = to_doubles(dbias);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t o = 0; o < out; ++o) {
      expected_bias[o] += dy[t * out + o];
      for (int64_t i = 0; i < in; ++i) {
        expected_w[o * in + i] += double{dy[t * out + o]} * x[t * in + i];
      }
    }
  }
  ops_->linear_weight_grad(dy.data(), x.data(), dw.data(), dbias.data(), T, in, out);
  expect_close(dw, expected_w);
  expect_close(dbias, expected_bias);
  ops_->linear_weight_grad(dy.data(), x.data(), dw.data(), nullptr, T, in, out);
}

TEST_P(LinearTest, SameInputSameBits) {
  const auto [T, in, out] = GetParam();
  const Floats x = random(T * in), w = random(out * in);
  Floats first = poisoned(T * out), second = poisoned(T * out);
  ops_->linear(x.data(), w.data(), nullptr, first.data(), T, in, out);
  ops_->linear(x.data(), w.data(), nullptr, second.data(), T, in, out);
  EXPECT_EQ(first, second);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         ::testing::Values(LinearShape{1, 1, 1}, LinearShape{5, 7, 33},
                                           LinearShape{65, 100, 31}, LinearShape{64, 64, 192},
                                           LinearShape{1, 384, 100}));

TEST_F(CpuOpsTest, NoTokensLeaveWeightGradientAlone) {
  Floats dw = {1, 2, 3, 4};
  ops_->linear_weight_grad(nullptr, nullptr, dw.data(), nullptr, 0, 2, 2);
  EXPECT_EQ(dw, (Floats{1, 2, 3, 4}));
}

}  // namespace
}  // namespace shardwright::testing
