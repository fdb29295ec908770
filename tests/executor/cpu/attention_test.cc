#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

class AttentionTest : public CpuOpsTest, public ::testing::WithParamInterface<AttentionShape> {};

// Offsets of one head's first element in token t of sequence b.
struct Layout {
  AttentionShape s;
  int64_t row(int64_t b, int64_t t) const { return (b * s.seq + t) * s.qkv_width(); }
  int64_t q(int64_t b, int64_t t, int64_t h) const { return row(b, t) + h * s.head_dim; }
  int64_t k(int64_t b, int64_t t, int64_t h) const {
    return row(b, t) + (s.heads + h * s.kv_heads / s.heads) * s.head_dim;
  }
  int64_t v(int64_t b, int64_t t, int64_t h) const { return k(b, t, h) + s.kv_heads * s.head_dim; }
  int64_t out(int64_t b, int64_t t, int64_t h) const {
    return (b * s.seq + t) * s.out_width() + h * s.head_dim;
  }
};

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

struct Reference {
  Doubles out, lse;
};

// The definition, one row of scores at a time. Weights of row (b, h, t) go to `visit`.
template <typename Visit>
Reference reference(const AttentionShape& s, const Doubles& qkv, Visit&& visit) {
  const Layout at{s};
  Reference r{Doubles(s.batch * s.seq * s.out_width()), Doubles(s.batch * s.heads * s.seq)};
  for (int64_t row = 0; row < s.batch * s.heads * s.seq; ++row) {
    const int64_t t = row % s.seq, h = row / s.seq % s.heads, b = row / s.seq / s.heads;
    Doubles weights;
    double sum = 0;
    for (int64_t j = 0; j <= t; ++j) {
      weights.push_back(std::exp(dot(&qkv[at.q(b, t, h)], &qkv[at.k(b, j, h)], s.head_dim) /
                                 std::sqrt(static_cast<double>(s.head_dim))));
      sum += weights.back();
    }
    r.lse[row] = std::log(sum);
    for (int64_t j = 0; j <= t; ++j) {
      weights[j] /= sum;
      for (int64_t i = 0; i < s.head_dim; ++i) {
        r.out[at.out(b, t, h) + i] += weights[j] * qkv[at.v(b, j, h) + i];
      }
    }
    visit(b, h, t, weights);
  }
  return r;
}
Reference reference(const AttentionShape& s, const Doubles& qkv) {
  return reference(s, qkv, [](auto&&...) {});
}

Doubles reference_grad(const AttentionShape& s, const Doubles& qkv, const Doubles& dout) {
  const Layout at{s};
  const Doubles out = reference(s, qkv).out;
  Doubles d(qkv.size());
  const double scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
  reference(s, qkv, [&](int64_t b, int64_t h, int64_t t, const Doubles& weights) {
    const double* dout_row = &dout[at.out(b, t, h)];
    const double centre = dot(dout_row, &out[at.out(b, t, h)], s.head_dim);
    for (int64_t j = 0; j <= t; ++j) {
      const double ds =
          weights[j] * (dot(dout_row, &qkv[at.v(b, j, h)], s.head_dim) - centre) * scale;
      for (int64_t i = 0; i < s.head_dim; ++i) {
        d[at.v(b, j, h) + i] += weights[j] * dout_row[i];
        d[at.q(b, t, h) + i] += ds * qkv[at.k(b, j, h) + i];
        d[at.k(b, j, h) + i] += ds * qkv[at.q(b, t, h) + i];
      }
    }
  });
  return d;
}

TEST_P(AttentionTest, ForwardAndGradientMatchReference) {
  const AttentionShape s = GetParam();
  const int64_t tokens = s.batch * s.seq;
  const Floats qkv = random(tokens * s.qkv_width(), 2), dout = random(tokens * s.out_width());
  Floats out = poisoned(tokens * s.out_width()), lse = poisoned(s.batch * s.heads * s.seq);
  ops_->attention(qkv.data(), s, out.data(), lse.data());
  const Reference expected = reference(s, to_doubles(qkv));
  // Scores carry an error of sqrt(head_dim) units in the last place of numbers up to 10.
  expect_close(out, expected.out, 1e-5);
  expect_close(lse, expected.lse, 1e-5);

  Floats dqkv = poisoned(tokens * s.qkv_width());
  ops_->attention_grad(qkv.data(), out.data(), lse.data(), dout.data(), s, dqkv.data());
  expect_close(dqkv, reference_grad(s, to_doubles(qkv), to_doubles(dout)), 2e-5);

  Floats again = poisoned(tokens * s.qkv_width());
  ops_->attention_grad(qkv.data(), out.data(), lse.data(), dout.data(), s, again.data());
  EXPECT_EQ(dqkv, again);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    ::testing::Values(AttentionShape{1, 1, 1, 1, 1}, AttentionShape{2, 5, 2, 1, 7},
                      AttentionShape{1, 64, 2, 2, 64}, AttentionShape{2, 65, 4, 2, 33},
                      AttentionShape{1, 129, 6, 2, 16}, AttentionShape{1, 200, 1, 1, 100},
                      AttentionShape{1, 300, 2, 1, 32}));

// The reference gradient itself against central differences: an independent check of the formula.
TEST_F(CpuOpsTest, AttentionGradientMatchesFiniteDifferences) {
  const AttentionShape s{1, 6, 2, 1, 3};
  const Floats qkv = random(s.seq * s.qkv_width()), dout = random(s.seq * s.out_width());
  Floats out = poisoned(s.seq * s.out_width()), lse = poisoned(s.heads * s.seq);
  Floats dqkv = poisoned(s.seq * s.qkv_width());
  ops_->attention(qkv.data(), s, out.data(), lse.data());
  ops_->attention_grad(qkv.data(), out.data(), lse.data(), dout.data(), s, dqkv.data());
  Doubles point = to_doubles(qkv), expected;
  const Doubles weight = to_doubles(dout);
  const auto loss = [&] {
    return dot(reference(s, point).out.data(), weight.data(), static_cast<int64_t>(weight.size()));
  };
  for (double& value : point) {
    const double step = 1e-5, at = value;
    value = at + step;
    const double above = loss();
    value = at - step;
    expected.push_back((above - loss()) / (2 * step));
    value = at;
  }
  expect_close(dqkv, expected, 1e-5);
}

// Scores around 1e4 overflow exp unless the maximum is taken away first.
TEST_F(CpuOpsTest, AttentionSurvivesLargeScores) {
  const AttentionShape s{1, 150, 1, 1, 16};
  const Floats qkv = random(s.seq * s.qkv_width(), 100);
  Floats out = poisoned(s.seq * s.out_width()), lse = poisoned(s.seq);
  ops_->attention(qkv.data(), s, out.data(), lse.data());
  for (float value : out) ASSERT_TRUE(std::fabs(value) <= 100.001f) << value;
}

TEST_F(CpuOpsTest, RopeRotatesPairsAndInverts) {
  const AttentionShape s{2, 9, 3, 1, 20};
  for (const int64_t rotary_dim : {20, 12, 2}) {
    const Floats before = random(s.batch * s.seq * s.qkv_width());
    Doubles expected = to_doubles(before);
    for (int64_t t = 0; t < s.batch * s.seq; ++t) {
      for (int64_t head = 0; head < s.heads + s.kv_heads; ++head) {
        double* x = &expected[t * s.qkv_width() + head * s.head_dim];
        for (int64_t i = 0; i < rotary_dim / 2; ++i) {
          const double angle =
              static_cast<double>(t % s.seq) * std::pow(10000.0, -2.0 * i / rotary_dim);
          const double a = x[i], b = x[i + rotary_dim / 2];
          x[i] = a * std::cos(angle) - b * std::sin(angle);
          x[i + rotary_dim / 2] = b * std::cos(angle) + a * std::sin(angle);
        }
      }
    }
    Floats qkv = before;
    ops_->rope(qkv.data(), s, rotary_dim, 10000.0f, false);
    expect_close(qkv, expected);
    ops_->rope(qkv.data(), s, rotary_dim, 10000.0f, true);
    expect_close(qkv, to_doubles(before));
  }
}

}  // namespace
}  // namespace shardwright::testing
