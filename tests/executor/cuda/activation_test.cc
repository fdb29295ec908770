#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

constexpr Activation kKinds[] = {Activation::kGeluTanh, Activation::kGeluErf, Activation::kSilu,
                                 Activation::kRelu};

struct Shape {
  int64_t T, f, offset;
};
std::string name(Activation kind, const Shape& s) {
  return "kind " + std::to_string(static_cast<int>(kind)) + ", " + std::to_string(s.T) + " x " +
         std::to_string(s.f) + " at " + std::to_string(s.offset);
}
constexpr Shape kShapes[] = {{1, 1, 0}, {5, 7, 0}, {3, 64, 0}, {3, 64, 1}, {67, 264, 0}};

class ActivationKernelTest : public KernelTest {};

TEST_P(ActivationKernelTest, Forward) {
  for (const Activation kind : kKinds) {
    for (const Shape& s : kShapes) {
      for (const bool with_bias : {false, true}) {
        const Floats u = random(s.T * s.f, 8), bias = random(s.f);
        Floats g = poisoned(s.T * s.f);
        cpu_->activation(kind, u.data(), with_bias ? bias.data() : nullptr, g.data(), s.T, s.f);
        const DeviceArray u_d = put(u, s.offset), bias_d = put(bias),
                          g_d = put(poisoned(s.T * s.f));
        cuda_->activation(kind, u_d.get(), with_bias ? bias_d.get() : nullptr, g_d.get(), s.T, s.f);
        expect_near(g_d.read(), g, type(), name(kind, s));
      }
    }
  }
}

TEST_P(ActivationKernelTest, GradientAndItsColumnSums) {
  for (const Activation kind : kKinds) {
    for (const Shape& s : kShapes) {
      const Floats u = random(s.T * s.f, 8), bias = random(s.f), dg = random(s.T * s.f);
      const Floats dbias = random_fp32(s.f);
      Floats du = poisoned(s.T * s.f), dbias_host = dbias;
      cpu_->activation_grad(kind, u.data(), bias.data(), dg.data(), du.data(), dbias_host.data(),
                            s.T, s.f);
      const DeviceArray u_d = put(u, s.offset), bias_d = put(bias), dg_d = put(dg);
      const DeviceArray du_d = put(poisoned(s.T * s.f)), dbias_d = put_fp32(dbias);
      cuda_->activation_grad(kind, u_d.get(), bias_d.get(), dg_d.get(), du_d.get(),
                             dbias_d.floats(), s.T, s.f);
      expect_near(du_d.read(), du, type(), "du, " + name(kind, s));
      // For bf16 the exponential is an approximation that is off by |x| 2^-24; GELU's x reaches 50.
      expect_near(dbias_d.read(), dbias_host, DataType::kFp32, "dbias, " + name(kind, s),
                  type() == DataType::kBf16 ? 1e-5 : kFp32Error);

      cpu_->activation_grad(kind, u.data(), nullptr, dg.data(), du.data(), nullptr, s.T, s.f);
      du_d.write(poisoned(s.T * s.f));
      cuda_->activation_grad(kind, u_d.get(), nullptr, dg_d.get(), du_d.get(), nullptr, s.T, s.f);
      expect_near(du_d.read(), du, type(), "du without bias, " + name(kind, s));
    }
  }
}

TEST_P(ActivationKernelTest, GatedForwardAndGradient) {
  for (const Activation kind : kKinds) {
    for (const Shape& s : kShapes) {
      const Floats u = random(s.T * 2 * s.f, 4), dg = random(s.T * s.f);
      Floats g = poisoned(s.T * s.f), du = poisoned(s.T * 2 * s.f);
      cpu_->gated(kind, u.data(), g.data(), s.T, s.f);
      cpu_->gated_grad(kind, u.data(), dg.data(), du.data(), s.T, s.f);
      const DeviceArray u_d = put(u, s.offset), dg_d = put(dg);
      const DeviceArray g_d = put(poisoned(s.T * s.f)), du_d = put(poisoned(s.T * 2 * s.f));
      cuda_->gated(kind, u_d.get(), g_d.get(), s.T, s.f);
      cuda_->gated_grad(kind, u_d.get(), dg_d.get(), du_d.get(), s.T, s.f);
      expect_near(g_d.read(), g, type(), "g, " + name(kind, s));
      expect_near(du_d.read(), du, type(), "du, " + name(kind, s));
    }
  }
}

// The far tails: no overflow, and NaN is not swallowed. 1e4 is not a number of bf16: 9984 is.
TEST_P(ActivationKernelTest, ExtremesAndNaN) {
  const Floats u = {-9984, 9984, -100, 100, 0, std::numeric_limits<float>::quiet_NaN()};
  for (const Activation kind : kKinds) {
    const DeviceArray u_d = put(u), g_d = put(poisoned(6)), du_d = put(poisoned(6));
    const DeviceArray ones = put(Floats(6, 1.0f));
    cuda_->activation(kind, u_d.get(), nullptr, g_d.get(), 1, 6);
    cuda_->activation_grad(kind, u_d.get(), nullptr, ones.get(), du_d.get(), nullptr, 1, 6);
    const Floats g = g_d.read(), du = du_d.read();
    EXPECT_NEAR(g[0], 0, 1e-30);
    EXPECT_EQ(g[1], 9984);
    EXPECT_NEAR(g[2], 0, 1e-30);
    EXPECT_EQ(g[3], 100);
    EXPECT_EQ(g[4], 0);
    EXPECT_TRUE(std::isnan(g[5]));
    EXPECT_NEAR(du[0], 0, 1e-30);
    EXPECT_EQ(du[1], 1);
    EXPECT_NEAR(du[2], 0, 1e-30);
    EXPECT_EQ(du[3], 1);
  }
}

TEST_P(ActivationKernelTest, NoRowsAreNoWork) {
  device_.forget_calls();
  cuda_->activation(Activation::kSilu, nullptr, nullptr, nullptr, 0, 8);
  cuda_->activation_grad(Activation::kSilu, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8);
  cuda_->gated(Activation::kSilu, nullptr, nullptr, 0, 8);
  cuda_->gated_grad(Activation::kSilu, nullptr, nullptr, nullptr, 0, 8);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, ActivationKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
