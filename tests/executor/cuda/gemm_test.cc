// The three products of a linear layer against the CPU's, in both types; the layouts are what can
// be wrong here, so no two of T, in and out are equal.
#include "tests/executor/cuda/support.h"

namespace shardwright::testing {
namespace {

class GemmTest : public CudaOpsTest {
 protected:
  static constexpr int64_t kT = 24, kIn = 40, kOut = 18;
  // The sums of products of bf16 are exact to fp32 on both sides, and rounded once.
};

TEST_P(GemmTest, Linear) {
  Tensor x = typed(random(kT * kIn)), w = typed(random(kOut * kIn)), bias = typed(random(kOut));
  for (const bool with_bias : {false, true}) {
    Tensor y = typed_output(kT * kOut);
    both([&](Ops& ops, Side at) {
      ops.linear(at(x), at(w), with_bias ? at(bias) : nullptr, at(y), kT, kIn, kOut);
    });
    expect_same(y, rounding(), with_bias ? "with bias" : "without");
  }
}

TEST_P(GemmTest, InputGrad) {
  Tensor dy = typed(random(kT * kOut)), w = typed(random(kOut * kIn)), dx = typed_output(kT * kIn);
  both([&](Ops& ops, Side at) { ops.linear_input_grad(at(dy), at(w), at(dx), kT, kIn, kOut); });
  expect_same(dx, rounding());
}

// The host's stand-in for the library sums rows only when their number is even, so that both ways
// to the gradient of the bias are gone: in the product's pass, and in one of its own.
TEST_P(GemmTest, WeightGradAddsInFp32) {
  for (const int64_t out : {kOut, kOut - 1}) {
    Tensor dy = typed(random(kT * out)), x = typed(random(kT * kIn));
    for (const bool with_bias : {false, true}) {
      Tensor dw = floats(random(out * kIn)), dbias = floats(random(out));
      const std::vector<double> before = device_values(dbias);
      both([&](Ops& ops, Side at) {
        ops.linear_weight_grad(at(dy), at(x), at.floats(dw), with_bias ? at.floats(dbias) : nullptr,
                               kT, kIn, out);
      });
      expect_same(dw, kFp32Tolerance, "dw");
      expect_same(dbias, kFp32Tolerance, "dbias");
      EXPECT_EQ(device_values(dbias) == before, !with_bias);
    }
  }
}

TEST_P(GemmTest, NoTokens) {
  Tensor dw = floats(random(kOut * kIn)), none;
  const std::vector<double> before = device_values(dw);
  const Side at(true);
  cuda_->linear(at(none), at(none), nullptr, at(none), 0, kIn, kOut);
  cuda_->linear_weight_grad(at(none), at(none), at.floats(dw), nullptr, 0, kIn, kOut);
  EXPECT_EQ(device_values(dw), before);
}

INSTANTIATE_TEST_SUITE_P(Types, GemmTest, kBothTypes);

// A product and GELU, in one pass and one after another, against the CPU, which does them one after
// another. Rows of a multiple of 8 can be done in one pass, others cannot.
class GemmGeluTest : public CudaOpsTest {
 protected:
  static constexpr int64_t kT = 24, kIn = 48;

  void fuse(bool on) {
    CudaOptions options = kSmall;
    options.fused_gelu = on;
    cuda_ = make_cuda_ops(device_, 0, GetParam(), options);
  }
  bool fuses(int64_t width) const {
    return GetParam() == DataType::kBf16 && cuda_->fuses_activation(kKind) && width % 8 == 0;
  }
  // Products and kernels given to the device by `call`; nothing is known of a real one.
  template <typename F>
  void expect_calls([[maybe_unused]] size_t count, F&& call) {
    device_.forget_calls();
    call();
#ifndef SHARDWRIGHT_TEST_ON_GPU
    size_t launches = 0;
    for (const auto& done : device_.calls()) {
      launches += done.kind == EmulatedDevice::Kind::kLaunch ? 1 : 0;
    }
    EXPECT_EQ(launches, count);
#endif
  }

  static constexpr Activation kKind = Activation::kGeluTanh;
  static constexpr double kTwice = 2.13;  // roundings in g: its own, and that of u
};

// One after another, u is rounded to the compute type before GELU, whose slope is at most 1.13; a
// library may do so too. If its tanh is the GPU's approximation (2^-11, PTX ISA, tanh.approx), |u|
// up to 7 adds 2e-3, a seventh of what is allowed.
TEST_P(GemmGeluTest, Forward) {
  for (const bool on : {false, true}) {
    fuse(on);
    EXPECT_EQ(cuda_->fuses_activation(kKind), on && GetParam() == DataType::kBf16);
    for (const int64_t width : {40, 42}) {
      SCOPED_TRACE(std::to_string(width) + (on ? " in one pass" : " one after another"));
      Tensor x = typed(random(kT * kIn)), w = typed(random(width * kIn)),
             bias = typed(random(width));
      Tensor u = typed_output(kT * width), g = typed_output(kT * width);
      expect_calls(fuses(width) ? 1 : 2, [&] {
        both([&](Ops& ops, Side at) {
          ops.linear_activation(kKind, at(x), at(w), at(bias), at(u), at(g), kT, kIn, width);
        });
      });
      expect_same(u, rounding(), "u");
      expect_same(g, kTwice * rounding(), "g");
    }
  }
}

// One after another, dy w is rounded before it is multiplied. Where |u| is at most 2 such a tanh
// moves the slope by 1.2e-3: half of what is allowed where the slope is 0 and dy w is 6, its most.
TEST_P(GemmGeluTest, Gradient) {
  for (const bool on : {false, true}) {
    fuse(on);
    for (const int64_t width : {40, 42}) {
      SCOPED_TRACE(std::to_string(width) + (on ? " in one pass" : " one after another"));
      Tensor dy = typed(random(kT * kIn)), w = typed(random(kIn * width));
      Tensor u = typed(random(kT * width, 2));
      Tensor dg = typed_output(kT * width), du = typed_output(kT * width);
      expect_calls(fuses(width) ? 1 : 2, [&] {
        both([&](Ops& ops, Side at) {
          ops.linear_activation_grad(kKind, at(dy), at(w), at(u), at(dg), at(du), kT, width, kIn);
        });
      });
      expect_same(du, 2 * rounding(), "du");
    }
  }
}

// Arrays off their boundary, as weights of odd widths lie, and other functions take the other way.
TEST_P(GemmGeluTest, WhatCannotBeFusedIsDoneOneAfterAnother) {
  fuse(true);
  const int64_t width = 40;
  for (const Activation kind : {kKind, Activation::kGeluErf, Activation::kRelu}) {
    Tensor x = typed(random(kT * kIn)), w = typed(random(width * kIn));
    Tensor biases = typed(random(width + 1)), u = typed_output(kT * width),
           g = typed_output(kT * width);
    expect_calls(2, [&] {
      both([&](Ops& ops, Side at) {
        const Bytes element = at.on_device() ? size_of(GetParam()) : 4;
        const void* bias = static_cast<const std::byte*>(at(biases)) + element;
        ops.linear_activation(kind, at(x), at(w), bias, at(u), at(g), kT, kIn, width);
      });
    });
    expect_same(u, rounding(), "u");
    expect_same(g, kTwice * rounding(), "g");
  }
  expect_calls(0, [&] {
    cuda_->linear_activation(kKind, nullptr, nullptr, nullptr, nullptr, nullptr, 0, kIn, width);
    cuda_->linear_activation_grad(kKind, nullptr, nullptr, nullptr, nullptr, nullptr, 0, width,
                                  kIn);
  });
}

INSTANTIATE_TEST_SUITE_P(Types, GemmGeluTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
