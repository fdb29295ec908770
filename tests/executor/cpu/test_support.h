// Shared by the kernel tests: random inputs, outputs that start as NaN, and comparison with a
// double-precision reference.
//
// Tolerances. An element is compared relative to its own size plus the root mean square of the
// expected array, because sums cancel. fp32 rounds to 2^-24 = 6e-8; a sum of n random terms is off
// by about sqrt(n) of that. 2e-6 covers kernels with sums of up to a few hundred terms, and
// elementary functions good to a few units in the last place; tests that need more say why.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "executor/cpu/cpu_ops.h"

namespace shardwright::testing {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr double kTolerance = 2e-6;

class CpuOpsTest : public ::testing::Test {
 protected:
  // Uniform in [-scale, scale).
  Floats random(int64_t elements, float scale = 1.0f) {
    std::uniform_real_distribution<float> values(-scale, scale);
    Floats out(static_cast<size_t>(elements));
    for (float& value : out) value = values(generator_);
    return out;
  }
  std::vector<int32_t> random_tokens(int64_t count, int32_t below) {
    std::uniform_int_distribution<int32_t> values(0, below - 1);
    std::vector<int32_t> out(static_cast<size_t>(count));
    for (int32_t& value : out) value = values(generator_);
    return out;
  }

  std::unique_ptr<Ops> ops_ = make_cpu_ops(0);
  std::mt19937 generator_{20240607};
};

// An output that a kernel must overwrite completely.
inline Floats poisoned(int64_t elements) {
  return Floats(static_cast<size_t>(elements), std::numeric_limits<float>::quiet_NaN());
}

inline double root_mean_square(const Doubles& values) {
  double squares = 0;
  for (double value : values) squares += value * value;
  return values.empty() ? 0 : std::sqrt(squares / static_cast<double>(values.size()));
}

inline void expect_close(const Floats& actual, const Doubles& expected,
                         double tolerance = kTolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  const double typical = root_mean_square(expected);
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(actual[i] - expected[i]);
    // Written so that NaN fails.
    ASSERT_TRUE(error <= tolerance * (std::fabs(expected[i]) + typical))
        << "element " << i << ": " << actual[i] << ", expected " << expected[i];
  }
}

inline Doubles to_doubles(const Floats& values) { return {values.begin(), values.end()}; }

}  // namespace shardwright::testing
