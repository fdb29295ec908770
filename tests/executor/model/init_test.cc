#include "executor/model/init.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace shardwright {
namespace {

// Printed by `tests/oracle/make_oracle.py --check`, which computes them with numpy.
TEST(InitTest, EqualsThePythonDefinition) {
  EXPECT_FLOAT_EQ(init_normal("embedding.tokens", 0, 0), 0.9917477965354919F);
  EXPECT_FLOAT_EQ(init_normal("embedding.tokens", 1, 0), -1.406227946281433F);
  EXPECT_FLOAT_EQ(init_normal("embedding.tokens", 0, 1), 0.21452215313911438F);
  EXPECT_FLOAT_EQ(init_normal("head.weight", 0, 0), 0.20682388544082642F);
  EXPECT_FLOAT_EQ(init_normal("layers.1.mlp.up.weight", 5000000000, 1234), -0.3466584086418152F);
}

TEST(InitTest, RangeIsTheSameElementsFromAnyStart) {
  std::vector<float> part(100);
  init_normal_range("layers.3.attention.q.weight", 777, part.size(), 42, 0.02F, part.data());
  for (size_t i = 0; i < part.size(); ++i) {
    EXPECT_EQ(part[i], 0.02F * init_normal("layers.3.attention.q.weight", 777 + i, 42)) << i;
  }
}

// Mean, variance and kurtosis of a standard normal are 0, 1 and 3. With n = 10^6 their standard
// errors are 1/1000, sqrt(2)/1000 and sqrt(96)/1000; the bounds are five of them.
TEST(InitTest, MomentsAreNormal) {
  const int n = 1000000;
  std::vector<float> z(n);
  init_normal_range("head.weight", 0, n, 7, 1.0F, z.data());
  double sum = 0, squares = 0, fourths = 0;
  for (const double value : z) {
    sum += value;
    squares += value * value;
    fourths += std::pow(value, 4);
  }
  EXPECT_NEAR(sum / n, 0.0, 5e-3);
  EXPECT_NEAR(squares / n, 1.0, 5 * std::sqrt(2.0) * 1e-3);
  EXPECT_NEAR(fourths / n, 3.0, 5 * std::sqrt(96.0) * 1e-3);
}

// Streams of other names, seeds and places are uncorrelated: the mean product of n pairs has
// standard error 1/sqrt(n).
TEST(InitTest, StreamsAreUncorrelated) {
  const int n = 100000;
  std::vector<float> base(n + 1), other_name(n), other_seed(n);
  init_normal_range("layers.0.mlp.up.weight", 0, n + 1, 1, 1.0F, base.data());
  init_normal_range("layers.1.mlp.up.weight", 0, n, 1, 1.0F, other_name.data());
  init_normal_range("layers.0.mlp.up.weight", 0, n, 2, 1.0F, other_seed.data());
  double by_name = 0, by_seed = 0, by_place = 0;
  for (int i = 0; i < n; ++i) {
    by_name += base[i] * other_name[i];
    by_seed += base[i] * other_seed[i];
    by_place += base[i] * base[i + 1];
  }
  const double bound = 5 / std::sqrt(n);
  EXPECT_NEAR(by_name / n, 0.0, bound);
  EXPECT_NEAR(by_seed / n, 0.0, bound);
  EXPECT_NEAR(by_place / n, 0.0, bound);
}

}  // namespace
}  // namespace shardwright
