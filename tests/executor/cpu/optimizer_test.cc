#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

class FlatTest : public CpuOpsTest, public ::testing::WithParamInterface<int64_t> {};

TEST_P(FlatTest, AdamW) {
  const int64_t n = GetParam();
  Floats p = random(n), m = random(n), v = random(n);
  const Floats g = random(n);
  for (float& value : v) value = std::fabs(value);
  const AdamWSettings s{0.9f, 0.95f, 1e-8f, 0.1f};
  const StepScalars now{0.01f, 1 - 0.729f, 1 - 0.857375f, 0.5f};
  Doubles p_expected, m_expected, v_expected;
  for (int64_t i = 0; i < n; ++i) {
    const double grad = g[i] * 0.5;
    m_expected.push_back(double{s.beta1} * m[i] + (1 - double{s.beta1}) * grad);
    v_expected.push_back(double{s.beta2} * v[i] + (1 - double{s.beta2}) * grad * grad);
    const double update =
        m_expected[i] / now.correction1 / (std::sqrt(v_expected[i] / now.correction2) + s.eps);
    p_expected.push_back(p[i] - now.lr * (update + double{s.weight_decay} * p[i]));
  }
  ops_->adamw(p.data(), nullptr, g.data(), m.data(), v.data(), n, s, &now);
  expect_close(p, p_expected);
  expect_close(m, m_expected);
  expect_close(v, v_expected);
}

// m = v = g = 0 at the first step of an unused embedding row: no 0/0.
TEST_P(FlatTest, AdamWOfZeroGradientOnlyDecays) {
  const int64_t n = GetParam();
  Floats p(n, 2.0f), g(n, 0.0f), m(n, 0.0f), v(n, 0.0f);
  const StepScalars now{0.5f, 0.1f, 0.001f, 1.0f};
  ops_->adamw(p.data(), nullptr, g.data(), m.data(), v.data(), n, {0.9f, 0.999f, 1e-8f, 0.5f},
              &now);
  EXPECT_EQ(p, Floats(n, 1.5f));
}

TEST_P(FlatTest, Sgd) {
  const int64_t n = GetParam();
  const Floats before = random(n), g = random(n);
  Floats p = before;
  const StepScalars now{0.1f, 1, 1, 0.5f};
  ops_->sgd(p.data(), nullptr, g.data(), n, 0.01f, &now);
  Doubles expected;
  for (int64_t i = 0; i < n; ++i) {
    expected.push_back(before[i] - 0.1 * (0.5 * g[i] + 0.01 * before[i]));
  }
  expect_close(p, expected);
}

TEST_P(FlatTest, SquareSum) {
  const int64_t n = GetParam();
  const Floats g = random(n);
  double expected = 0;
  for (float value : g) expected += double{value} * value;
  double sum = 3;  // is added to
  ops_->square_sum(g.data(), n, &sum);
  EXPECT_NEAR(sum - 3, expected, kTolerance * (expected + 3));
}

// The scale that brings a norm to its limit, from the square of the norm.
TEST_F(CpuOpsTest, ClipScale) {
  const double squares = 16;
  float scale = 0;
  ops_->clip_scale(&squares, 1.0f, &scale);
  EXPECT_NEAR(scale, 0.25, 1e-6);
  ops_->clip_scale(&squares, 8.0f, &scale);
  EXPECT_EQ(scale, 1.0f);
  ops_->clip_scale(&squares, 0.0f, &scale);
  EXPECT_EQ(scale, 1.0f);
}

TEST_P(FlatTest, FillCopyAddInto) {
  const int64_t n = GetParam();
  Floats a = poisoned(n), b = poisoned(n);
  ops_->fill(a.data(), 1.5f, n);
  EXPECT_EQ(a, Floats(n, 1.5f));
  ops_->copy(b.data(), a.data(), n * static_cast<Bytes>(sizeof(float)));
  EXPECT_EQ(b, a);
  ops_->add_into(b.data(), a.data(), n);
  EXPECT_EQ(b, Floats(n, 3.0f));
}

INSTANTIATE_TEST_SUITE_P(Sizes, FlatTest, ::testing::Values(1, 7, 33, 100, 1024, 5000));

TEST_F(CpuOpsTest, EmptyBuffersAreNoWork) {
  double sum = 0;
  ops_->square_sum(nullptr, 0, &sum);
  EXPECT_EQ(sum, 0);
  ops_->fill(nullptr, 0, 0);
  ops_->copy(nullptr, nullptr, 0);
  ops_->add_into(nullptr, nullptr, 0);
}

}  // namespace
}  // namespace shardwright::testing
