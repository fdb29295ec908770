#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

constexpr float kEps = 1e-5f;
constexpr Norm kNorms[] = {Norm::kLayerNorm, Norm::kRmsNorm};

struct Shape {
  int64_t T, cols, offset;  // offset: elements off the boundary
};
std::string name(const Shape& s) {
  return std::to_string(s.T) + " x " + std::to_string(s.cols) + " at " + std::to_string(s.offset);
}
// One column, one element per access, a warp and a block per row, more warps, a pack past the last
// whole warp, and rows wider than the registers of a block hold (512 threads x 4 packs of 1, 4 or
// 8).
constexpr Shape kShapes[] = {{1, 1, 0},    {5, 7, 0},    {9, 96, 0},   {9, 96, 3},   {3, 129, 0},
                             {2, 1032, 0}, {3, 2056, 0}, {2, 2051, 0}, {1, 8200, 0}, {1, 16392, 0}};

// One column minus its own mean is rounding only, amplified by 1/sqrt(eps) = 316.
double error_of(const Shape& s) { return s.cols == 1 ? 1e-3 : 1e-5; }

class NormKernelTest : public KernelTest {};

TEST_P(NormKernelTest, NormAndAddNorm) {
  for (const Norm kind : kNorms) {
    for (const Shape& s : kShapes) {
      const bool layer_norm = kind == Norm::kLayerNorm;
      const int64_t n = s.T * s.cols;
      const Floats x = random(n, 3), y = random(n), bias = random(s.cols);
      const Floats gamma = random(s.cols), beta = random(s.cols);
      const float* beta_host = layer_norm ? beta.data() : nullptr;
      Floats sum = poisoned(n), out = poisoned(n), stats = poisoned(2 * s.T);
      cpu_->add(x.data(), y.data(), bias.data(), sum.data(), s.T, s.cols);
      const Floats exact_sum = sum;
      sum = rounded(sum);  // as it is stored, and as the norm reads it
      cpu_->norm(kind, sum.data(), gamma.data(), beta_host, kEps, out.data(), stats.data(), s.T,
                 s.cols);

      const DeviceArray x_d = put(x, s.offset), y_d = put(y, s.offset), bias_d = put(bias);
      const DeviceArray gamma_d = put(gamma), beta_d = put(beta);
      const DeviceArray sum_d = put(poisoned(n)), out_d = put(poisoned(n));
      const DeviceArray stats_d = put_fp32(poisoned(2 * s.T));
      const void* beta_device = layer_norm ? beta_d.get() : nullptr;
      cuda_->add_norm(kind, x_d.get(), y_d.get(), bias_d.get(), gamma_d.get(), beta_device, kEps,
                      sum_d.get(), out_d.get(), stats_d.floats(), s.T, s.cols);
      expect_near(sum_d.read(), exact_sum, type(), "sum " + name(s));
      expect_near(out_d.read(), out, type(), "add_norm " + name(s), error_of(s));
      expect_near(stats_d.read(), stats, DataType::kFp32, "stats " + name(s), error_of(s));

      // The norm of the stored sum is the same, to the bit.
      const DeviceArray again_d = put(poisoned(n), s.offset);
      const DeviceArray stats_again_d = put_fp32(poisoned(2 * s.T));
      cuda_->norm(kind, sum_d.get(), gamma_d.get(), beta_device, kEps, again_d.get(),
                  stats_again_d.floats(), s.T, s.cols);
      if (s.offset == 0) {
        EXPECT_EQ(again_d.read(), out_d.read()) << name(s);
      }
      expect_near(again_d.read(), out, type(), "norm " + name(s), error_of(s));
      expect_near(stats_again_d.read(), stats, DataType::kFp32, "stats " + name(s), error_of(s));
    }
  }
}

TEST_P(NormKernelTest, AddNormWithoutBias) {
  const int64_t T = 3, cols = 40;
  const Floats x = random(T * cols), y = random(T * cols), gamma = random(cols);
  Floats sum = poisoned(T * cols);
  cpu_->add(x.data(), y.data(), nullptr, sum.data(), T, cols);
  const DeviceArray x_d = put(x), y_d = put(y), gamma_d = put(gamma),
                    sum_d = put(poisoned(T * cols));
  const DeviceArray out_d = put(poisoned(T * cols)), stats_d = put_fp32(poisoned(2 * T));
  cuda_->add_norm(Norm::kRmsNorm, x_d.get(), y_d.get(), nullptr, gamma_d.get(), nullptr, kEps,
                  sum_d.get(), out_d.get(), stats_d.floats(), T, cols);
  expect_near(sum_d.read(), sum, type(), "sum");
}

// A large mean with small differences: a variance from E[x^2] - E[x]^2 would be lost.
TEST_P(NormKernelTest, VarianceAroundALargeMean) {
  const int64_t cols = 256;
  Floats x(cols);
  for (int64_t i = 0; i < cols; ++i) x[i] = i % 2 == 0 ? 256.0f : 258.0f;  // exact in bf16
  const DeviceArray x_d = put(x), gamma_d = put(Floats(cols, 1.0f)),
                    beta_d = put(Floats(cols, 0.0f));
  const DeviceArray y_d = put(poisoned(cols)), stats_d = put_fp32(poisoned(2));
  cuda_->norm(Norm::kLayerNorm, x_d.get(), gamma_d.get(), beta_d.get(), 0.0f, y_d.get(),
              stats_d.floats(), 1, cols);
  EXPECT_EQ(stats_d.read(), (Floats{257, 1}));
  EXPECT_EQ(y_d.read()[0], -1);
  EXPECT_EQ(y_d.read()[1], 1);
}

TEST_P(NormKernelTest, AddMayAliasItsOperands) {
  // 700 x 40 is more than the grid's threads take in one turn when an access is one element.
  for (const Shape& s : {Shape{5, 33, 0}, Shape{4, 64, 0}, Shape{4, 64, 1}, Shape{1700, 41, 0}}) {
    for (const bool with_bias : {false, true}) {
      const int64_t n = s.T * s.cols;
      const Floats x = random(n), y = random(n), bias = random(s.cols);
      Floats expected = poisoned(n);
      cpu_->add(x.data(), y.data(), with_bias ? bias.data() : nullptr, expected.data(), s.T,
                s.cols);
      const DeviceArray over_x = put(x, s.offset), over_y = put(y, s.offset), bias_d = put(bias);
      const DeviceArray x_d = put(x, s.offset), y_d = put(y, s.offset);
      const void* bias_device = with_bias ? bias_d.get() : nullptr;
      cuda_->add(over_x.get(), y_d.get(), bias_device, over_x.get(), s.T, s.cols);
      cuda_->add(x_d.get(), over_y.get(), bias_device, over_y.get(), s.T, s.cols);
      expect_near(over_x.read(), expected, type(), "add " + name(s));
      EXPECT_EQ(over_x.read(), over_y.read());
    }
  }
}

// Every element counts once: sums of small whole numbers are exact in any order.
TEST_P(NormKernelTest, ColumnSumIsExactForWholeNumbers) {
  for (const Shape& s : {Shape{1, 1, 0}, Shape{7, 37, 0}, Shape{65, 264, 0}, Shape{65, 264, 1},
                         Shape{1000, 8, 0}, Shape{40, 2080, 0}}) {
    Floats dy(s.T * s.cols), dbias = random_fp32(s.cols), expected(s.cols);
    for (size_t i = 0; i < dbias.size(); ++i) {
      dbias[i] = expected[i] = static_cast<float>(i % 5);
    }
    for (int64_t i = 0; i < s.T * s.cols; ++i) {
      dy[i] = static_cast<float>((i * 7 + i / s.cols) % 17 - 8);
      expected[i % s.cols] += dy[i];
    }
    const DeviceArray dy_d = put(dy, s.offset), dbias_d = put_fp32(dbias);
    cuda_->column_sum(dy_d.get(), dbias_d.floats(), s.T, s.cols);
    EXPECT_EQ(dbias_d.read(), expected) << name(s);
  }
}

#ifndef SHARDWRIGHT_TEST_ON_GPU  // which has as many multiprocessors
// More blocks' sums for each column than the second kernel has rows of threads.
TEST_P(NormKernelTest, ColumnSumOverManyBlocks) {
  const int64_t T = 700, cols = 8;  // 700 / 16 = 44 blocks
  EmulatedDevice device(0, {.sm_count = 40});
  const std::unique_ptr<Ops> ops = make_cuda_ops(device, 0, type(), kSmall);
  Floats expected(cols);
  Floats dy(T * cols);
  for (int64_t i = 0; i < T * cols; ++i) {
    dy[i] = static_cast<float>((i * 7 + i / cols) % 17 - 8);
    expected[i % cols] += dy[i];
  }
  const DeviceArray dy_d(device, *ops, dy, type());
  const DeviceArray dbias_d(device, *ops, Floats(cols), DataType::kFp32);
  ops->column_sum(dy_d.get(), dbias_d.floats(), T, cols);
  EXPECT_EQ(dbias_d.read(), expected);
}
#endif

TEST_P(NormKernelTest, NoRowsAreNoWork) {
  device_.forget_calls();
  cuda_->norm(Norm::kRmsNorm, nullptr, nullptr, nullptr, kEps, nullptr, nullptr, 0, 8);
  cuda_->add(nullptr, nullptr, nullptr, nullptr, 0, 8);
  cuda_->column_sum(nullptr, nullptr, 0, 8);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, NormKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
