#include "planner/normal_equations.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

// [4 2; 2 3] x = -(2, 5): by hand, determinant 8, inverse [3 -2; -2 4] / 8.
TEST(NormalEquations, OfTwoUnknowns) {
  NormalEquations equations(2);
  equations.at(0, 0) = 4;
  equations.at(0, 1) = equations.at(1, 0) = 2;
  equations.at(1, 1) = 3;
  equations.gradient(0) = 2;
  equations.gradient(1) = 5;
  const std::vector<double> step = equations.step();
  EXPECT_NEAR(step[0], -(3 * 2 - 2 * 5) / 8.0, 1e-12);
  EXPECT_NEAR(step[1], -(-2 * 2 + 4 * 5) / 8.0, 1e-12);
  const NormalEquations inverse = equations.inverse();
  EXPECT_NEAR(inverse.at(0, 0), 3 / 8.0, 1e-12);
  EXPECT_NEAR(inverse.at(0, 1), -2 / 8.0, 1e-12);
  EXPECT_NEAR(inverse.at(1, 0), -2 / 8.0, 1e-12);
  EXPECT_NEAR(inverse.at(1, 1), 4 / 8.0, 1e-12);
}

// A full matrix of more unknowns: A times its inverse is the identity.
TEST(NormalEquations, InverseOfALargerMatrix) {
  constexpr size_t n = 17;
  NormalEquations equations(n);
  for (size_t i = 0; i < n; ++i) {
    equations.at(i, i) = 1;
    for (size_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < 3; ++k) {  // three slopes, of rank 3
        const auto slope = [k](size_t x) { return static_cast<double>((x * (k + 2) + k) % 7) - 3; };
        equations.at(i, j) += slope(i) * slope(j);
      }
    }
  }
  const NormalEquations inverse = equations.inverse();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t k = 0; k < n; ++k) sum += equations.at(i, k) * inverse.at(k, j);
      EXPECT_NEAR(sum, i == j ? 1 : 0, 1e-10) << i << ", " << j;
    }
  }
}

TEST(NormalEquations, OfNoUnknowns) {
  EXPECT_TRUE(NormalEquations(0).step().empty());
  EXPECT_EQ(NormalEquations(0).inverse().size(), 0u);
}

}  // namespace
}  // namespace shardwright
