#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

constexpr float kEps = 1e-5f;

struct Shape {
  int64_t T, cols, offset;
};
// One row of threads and several, more rows than the grid takes in one turn (4 multiprocessors, 2
// blocks of 8 rows: 64), several warps per row, and rows too wide for one pass: more than 512
// threads x 3 (LayerNorm) or 4 (RMSNorm) packs of 1, 4 or 8 elements.
constexpr Shape kShapes[] = {{1, 1, 0},    {5, 7, 0},    {131, 72, 0},  {70, 72, 1},
                             {9, 200, 0},  {3, 1032, 0}, {6, 2056, 0},  {33, 1531, 0},
                             {2, 2051, 0}, {2, 8200, 0}, {1, 12296, 0}, {1, 16392, 0}};
std::string name(const Shape& s) {
  return std::to_string(s.T) + " x " + std::to_string(s.cols) + " at " + std::to_string(s.offset);
}

class NormGradTest : public KernelTest {
 protected:
  void check(Norm kind, const Shape& s, bool with_residual) {
    const bool layer_norm = kind == Norm::kLayerNorm;
    const int64_t n = s.T * s.cols;
    const Floats x = random(n, 2), gamma = random(s.cols), dy = random(n), residual = random(n);
    const Floats dgamma = random_fp32(s.cols), dbeta = random_fp32(s.cols);
    Floats y = poisoned(n), stats = poisoned(2 * s.T), dx = poisoned(n);
    Floats dgamma_host = dgamma, dbeta_host = dbeta;
    cpu_->norm(kind, x.data(), gamma.data(), layer_norm ? gamma.data() : nullptr, kEps, y.data(),
               stats.data(), s.T, s.cols);
    cpu_->norm_grad(kind, x.data(), gamma.data(), stats.data(), dy.data(),
                    with_residual ? residual.data() : nullptr, dx.data(), dgamma_host.data(),
                    layer_norm ? dbeta_host.data() : nullptr, s.T, s.cols);

    const DeviceArray x_d = put(x, s.offset), gamma_d = put(gamma), dy_d = put(dy);
    const DeviceArray stats_d = put_fp32(stats);
    const DeviceArray dgamma_d = put_fp32(dgamma), dbeta_d = put_fp32(dbeta);
    const DeviceArray dx_d = put(with_residual ? residual : poisoned(n));  // aliased
    cuda_->norm_grad(kind, x_d.get(), gamma_d.get(), stats_d.floats(), dy_d.get(),
                     with_residual ? dx_d.get() : nullptr, dx_d.get(), dgamma_d.floats(),
                     layer_norm ? dbeta_d.floats() : nullptr, s.T, s.cols);
    // A single column has 1/std up to 316, and the terms of its gradient cancel to nothing.
    const double error = s.cols == 1 ? 1e-3 : 1e-5;
    expect_near(dx_d.read(), dx, type(), "dx " + name(s), error);
    expect_near(dgamma_d.read(), dgamma_host, DataType::kFp32, "dgamma " + name(s), error);
    expect_near(dbeta_d.read(), layer_norm ? dbeta_host : dbeta, DataType::kFp32,
                "dbeta " + name(s), error);
  }
};

TEST_P(NormGradTest, LayerNorm) {
  for (const Shape& s : kShapes) check(Norm::kLayerNorm, s, true);
  check(Norm::kLayerNorm, {3, 40, 0}, false);
}

TEST_P(NormGradTest, RmsNorm) {
  for (const Shape& s : kShapes) check(Norm::kRmsNorm, s, true);
  check(Norm::kRmsNorm, {3, 40, 0}, false);
}

// Whatever thread runs first: the order of every sum is fixed.
TEST_P(NormGradTest, SameBitsInEveryThreadOrder) {
  const int64_t T = 70, cols = 264;
  const Floats x = random(T * cols), gamma = random(cols), dy = random(T * cols);
  Floats stats;
  for (int64_t t = 0; t < T; ++t) stats.insert(stats.end(), {0.1f, 1.5f});
  std::vector<Floats> results;
  for (const auto order : {emulation::ThreadOrder::kForward, emulation::ThreadOrder::kReverse}) {
    device_.set_order(order);
    const DeviceArray x_d = put(x), gamma_d = put(gamma), dy_d = put(dy), stats_d = put_fp32(stats);
    const DeviceArray dx_d = put(poisoned(T * cols));
    const DeviceArray dgamma_d = put_fp32(Floats(cols)), dbeta_d = put_fp32(Floats(cols));
    cuda_->norm_grad(Norm::kLayerNorm, x_d.get(), gamma_d.get(), stats_d.floats(), dy_d.get(),
                     nullptr, dx_d.get(), dgamma_d.floats(), dbeta_d.floats(), T, cols);
    for (const DeviceArray* out : {&dx_d, &dgamma_d, &dbeta_d}) results.push_back(out->read());
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(results[i], results[i + 3]);
}

INSTANTIATE_TEST_SUITE_P(Types, NormGradTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
