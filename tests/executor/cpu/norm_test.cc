#include <functional>

#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

constexpr float kEps = 1e-5f;

struct NormCase {
  Norm kind;
  int64_t T, cols;
};
class NormTest : public CpuOpsTest, public ::testing::WithParamInterface<NormCase> {
 protected:
  bool layer_norm() const { return GetParam().kind == Norm::kLayerNorm; }
};

// One row in double; also mean and 1/std.
struct RowNorm {
  Doubles y;
  double mean = 0, inv_std = 0;
};
RowNorm reference_row(Norm kind, const double* x, const float* gamma, const float* beta,
                      int64_t cols) {
  RowNorm out;
  double squares = 0;
  for (int64_t i = 0; i < cols && kind == Norm::kLayerNorm; ++i) out.mean += x[i] / cols;
  for (int64_t i = 0; i < cols; ++i) squares += (x[i] - out.mean) * (x[i] - out.mean);
  out.inv_std = 1 / std::sqrt(squares / cols + double{kEps});
  for (int64_t i = 0; i < cols; ++i) {
    out.y.push_back((x[i] - out.mean) * out.inv_std * gamma[i] + (beta ? beta[i] : 0));
  }
  return out;
}

TEST_P(NormTest, AddNormMatchesReference) {
  const auto [kind, T, cols] = GetParam();
  const Floats x = random(T * cols, 3), y = random(T * cols), bias = random(cols);
  const Floats gamma = random(cols), beta = random(cols);
  for (const bool with_bias : {false, true}) {
    Doubles sum_expected, out_expected, stats_expected;
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t i = 0; i < cols; ++i) {
        sum_expected.push_back(double{x[t * cols + i]} + y[t * cols + i] +
                               (with_bias ? bias[i] : 0));
      }
      const RowNorm row = reference_row(kind, &sum_expected[t * cols], gamma.data(),
                                        layer_norm() ? beta.data() : nullptr, cols);
      out_expected.insert(out_expected.end(), row.y.begin(), row.y.end());
      stats_expected.insert(stats_expected.end(), {row.mean, row.inv_std});
    }
    Floats sum = poisoned(T * cols), out = poisoned(T * cols), stats = poisoned(2 * T);
    ops_->add_norm(kind, x.data(), y.data(), with_bias ? bias.data() : nullptr, gamma.data(),
                   layer_norm() ? beta.data() : nullptr, kEps, sum.data(), out.data(), stats.data(),
                   T, cols);
    expect_close(sum, sum_expected);
    // One column minus its own mean is rounding only, amplified by 1/sqrt(eps) = 316.
    const double tolerance = cols == 1 ? 1e-3 : 1e-5;
    expect_close(out, out_expected, tolerance);
    expect_close(stats, stats_expected, tolerance);

    Floats again = poisoned(T * cols), stats_again = poisoned(2 * T);
    ops_->norm(kind, sum.data(), gamma.data(), layer_norm() ? beta.data() : nullptr, kEps,
               again.data(), stats_again.data(), T, cols);
    EXPECT_EQ(again, out);
    EXPECT_EQ(stats_again, stats);
  }
}

// The gradients of L = sum(dy * norm(x)) by central differences of the double reference.
TEST_P(NormTest, GradientMatchesFiniteDifferences) {
  const auto [kind, T, cols] = GetParam();
  const Floats x = random(T * cols, 2), gamma = random(cols), beta = random(cols);
  const Floats dy = random(T * cols), residual = random(T * cols);
  Floats dgamma = random(cols), dbeta = random(cols);
  Doubles dgamma_expected = to_doubles(dgamma), dbeta_expected = to_doubles(dbeta);
  Doubles dx_expected = to_doubles(residual);
  for (int64_t t = 0; t < T; ++t) {
    Doubles row(x.begin() + t * cols, x.begin() + (t + 1) * cols);
    const auto loss = [&] {
      const RowNorm norm = reference_row(kind, row.data(), gamma.data(), nullptr, cols);
      double sum = 0;
      for (int64_t i = 0; i < cols; ++i) sum += dy[t * cols + i] * norm.y[i];
      return sum;
    };
    const RowNorm norm = reference_row(kind, row.data(), gamma.data(), nullptr, cols);
    for (int64_t i = 0; i < cols; ++i) {
      const double step = 1e-5, at = row[i];
      row[i] = at + step;
      const double above = loss();
      row[i] = at - step;
      const double below = loss();
      row[i] = at;
      dx_expected[t * cols + i] += (above - below) / (2 * step);
      dgamma_expected[i] += dy[t * cols + i] * (row[i] - norm.mean) * norm.inv_std;
      dbeta_expected[i] += dy[t * cols + i];
    }
  }
  Floats y = poisoned(T * cols), stats = poisoned(2 * T);
  ops_->norm(kind, x.data(), gamma.data(), layer_norm() ? beta.data() : nullptr, kEps, y.data(),
             stats.data(), T, cols);
  Floats dx = residual;  // aliased, as documented
  ops_->norm_grad(kind, x.data(), gamma.data(), stats.data(), dy.data(), dx.data(), dx.data(),
                  dgamma.data(), layer_norm() ? dbeta.data() : nullptr, T, cols);
  // A single column has 1/std up to 316, and the terms of its gradient cancel to nothing.
  const double tolerance = cols == 1 ? 2e-4 : 1e-5;
  expect_close(dx, dx_expected, tolerance);
  expect_close(dgamma, dgamma_expected, tolerance);
  if (layer_norm()) expect_close(dbeta, dbeta_expected);
}

TEST_P(NormTest, GradientWithoutResidual) {
  const auto [kind, T, cols] = GetParam();
  const Floats x = random(T * cols), gamma = random(cols), dy = random(T * cols);
  const Floats zero(static_cast<size_t>(T * cols), 0.0f);
  Floats y = poisoned(T * cols), stats = poisoned(2 * T), dgamma(cols), dbeta(cols);
  ops_->norm(kind, x.data(), gamma.data(), layer_norm() ? gamma.data() : nullptr, kEps, y.data(),
             stats.data(), T, cols);
  Floats with = poisoned(T * cols), without = poisoned(T * cols);
  for (const auto& [residual, dx] : {std::pair{zero.data(), &with}, {nullptr, &without}}) {
    ops_->norm_grad(kind, x.data(), gamma.data(), stats.data(), dy.data(), residual, dx->data(),
                    dgamma.data(), layer_norm() ? dbeta.data() : nullptr, T, cols);
  }
  EXPECT_EQ(with, without);
}

std::vector<NormCase> norm_cases() {
  std::vector<NormCase> cases;
  for (const Norm kind : {Norm::kLayerNorm, Norm::kRmsNorm}) {
    for (const int64_t cols : {1, 7, 33, 100, 384}) {
      for (const int64_t T : {1, 5}) cases.push_back({kind, T, cols});
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Shapes, NormTest, ::testing::ValuesIn(norm_cases()));

TEST_F(CpuOpsTest, AddMayAliasItsOperands) {
  const int64_t T = 5, cols = 33;
  const Floats x = random(T * cols), y = random(T * cols), bias = random(cols);
  Doubles expected;
  for (int64_t i = 0; i < T * cols; ++i) expected.push_back(double{x[i]} + y[i] + bias[i % cols]);
  Floats over_x = x, over_y = y;
  ops_->add(over_x.data(), y.data(), bias.data(), over_x.data(), T, cols);
  ops_->add(x.data(), over_y.data(), bias.data(), over_y.data(), T, cols);
  expect_close(over_x, expected);
  EXPECT_EQ(over_x, over_y);
}

TEST_F(CpuOpsTest, ColumnSumAccumulates) {
  for (const int64_t T : {1, 7, 8, 65}) {
    const int64_t cols = 37;
    const Floats dy = random(T * cols);
    Floats dbias = random(cols);
    Doubles expected = to_doubles(dbias);
    for (int64_t i = 0; i < T * cols; ++i) expected[i % cols] += dy[i];
    ops_->column_sum(dy.data(), dbias.data(), T, cols);
    expect_close(dbias, expected);
  }
}

}  // namespace
}  // namespace shardwright::testing
