#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

class ActivationTest : public CpuOpsTest, public ::testing::WithParamInterface<Activation> {};

// The textbook formulas.
double value(Activation kind, double x) {
  switch (kind) {
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return 0;
}
double slope(Activation kind, double x) {
  const double step = 1e-5;
  return (value(kind, x + step) - value(kind, x - step)) / (2 * step);
}

TEST_P(ActivationTest, ForwardWithAndWithoutBias) {
  for (const int64_t f : {1, 7, 33, 100}) {
    const int64_t T = 5;
    const Floats u = random(T * f, 8), bias = random(f);
    for (const bool with_bias : {false, true}) {
      Doubles expected;
      for (int64_t i = 0; i < T * f; ++i) {
        expected.push_back(value(GetParam(), u[i] + (with_bias ? double{bias[i % f]} : 0)));
      }
      Floats g = poisoned(T * f);
      ops_->activation(GetParam(), u.data(), with_bias ? bias.data() : nullptr, g.data(), T, f);
      expect_close(g, expected);
    }
  }
}

TEST_P(ActivationTest, GradientMatchesFiniteDifferences) {
  for (const int64_t f : {1, 7, 33, 100}) {
    const int64_t T = 5;
    const Floats u = random(T * f, 8), bias = random(f), dg = random(T * f);
    Floats dbias = random(f), du = poisoned(T * f);
    Doubles expected, dbias_expected = to_doubles(dbias);
    for (int64_t i = 0; i < T * f; ++i) {
      expected.push_back(dg[i] * slope(GetParam(), double{u[i]} + bias[i % f]));
      dbias_expected[i % f] += expected.back();
    }
    ops_->activation_grad(GetParam(), u.data(), bias.data(), dg.data(), du.data(), dbias.data(), T,
                          f);
    expect_close(du, expected);
    expect_close(dbias, dbias_expected);
    ops_->activation_grad(GetParam(), u.data(), nullptr, dg.data(), du.data(), nullptr, T, f);
    EXPECT_NEAR(du[0], dg[0] * slope(GetParam(), u[0]), 1e-5);
  }
}

TEST_P(ActivationTest, GatedForwardAndGradient) {
  for (const int64_t f : {1, 33}) {
    const int64_t T = 5;
    const Floats u = random(T * 2 * f, 4), dg = random(T * f);
    Doubles g_expected, du_expected(u.size());
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t i = 0; i < f; ++i) {
        const int64_t gate = 2 * t * f + i, up = gate + f;
        g_expected.push_back(value(GetParam(), u[gate]) * u[up]);
        du_expected[gate] = dg[t * f + i] * u[up] * slope(GetParam(), u[gate]);
        du_expected[up] = dg[t * f + i] * value(GetParam(), u[gate]);
      }
    }
    Floats g = poisoned(T * f), du = poisoned(T * 2 * f);
    ops_->gated(GetParam(), u.data(), g.data(), T, f);
    ops_->gated_grad(GetParam(), u.data(), dg.data(), du.data(), T, f);
    expect_close(g, g_expected);
    expect_close(du, du_expected);
  }
}

// The far tails: no overflow, and NaN is not swallowed.
TEST_P(ActivationTest, ExtremesAndNaN) {
  const Floats u = {-1e4f, 1e4f, -100, 100, 0, std::numeric_limits<float>::quiet_NaN()};
  Floats g = poisoned(6);
  ops_->activation(GetParam(), u.data(), nullptr, g.data(), 1, 6);
  EXPECT_NEAR(g[0], 0, 1e-30);
  EXPECT_EQ(g[1], 1e4f);
  EXPECT_NEAR(g[2], 0, 1e-30);
  EXPECT_EQ(g[3], 100);
  EXPECT_EQ(g[4], 0);
  EXPECT_TRUE(std::isnan(g[5]));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ActivationTest,
                         ::testing::Values(Activation::kGeluTanh, Activation::kGeluErf,
                                           Activation::kSilu, Activation::kRelu));

}  // namespace
}  // namespace shardwright::testing
