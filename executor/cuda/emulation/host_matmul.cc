// Matrix products on the emulated device: three loops, fp32 sums.
#include <cmath>
#include <numbers>

#include "costmodel/check.h"
#include "executor/cuda/bf16.h"
#include "executor/cuda/emulation/emulated_device.h"
#include "executor/cuda/matmul.h"

namespace shardwright {
namespace {

using Extra = MatmulShape::Extra;

const double kRoot2OverPi = std::sqrt(2 / std::numbers::pi);

float load(const void* from, int64_t at, DataType type) {
  return type == DataType::kFp32 ? static_cast<const float*>(from)[at]
                                 : to_float(static_cast<const bf16*>(from)[at]);
}
void store(void* to, int64_t at, DataType type, float value) {
  if (type == DataType::kFp32) {
    static_cast<float*>(to)[at] = value;
  } else {
    static_cast<bf16*>(to)[at] = to_bf16(value);
  }
}

// x (1 + tanh(v)) / 2, v = sqrt(2 / pi) (x + 0.044715 x^3): by its definition, unlike the kernels.
float gelu(float u) {
  const double x = u, v = kRoot2OverPi * (x + 0.044715 * x * x * x);
  return static_cast<float>(0.5 * x * (1 + std::tanh(v)));
}
float gelu_slope(float u) {
  const double x = u, t = std::tanh(kRoot2OverPi * (x + 0.044715 * x * x * x));
  const double inner = kRoot2OverPi * (1 + 3 * 0.044715 * x * x);
  return static_cast<float>(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner);
}

void multiply(const MatmulShape& s, const MatmulOperands& o) {
  for (int64_t i = 0; i < s.m; ++i) {
    float row_sum = 0;
    for (int64_t j = 0; j < s.n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < s.k; ++k) {
        const float a = load(o.a, s.transpose_a ? k * s.m + i : i * s.k + k, s.in);
        const float b = load(o.b, s.transpose_b ? j * s.k + k : k * s.n + j, s.in);
        sum += a * b;
        if (j == 0) row_sum += a;
      }
      const int64_t at = i * s.n + j;
      if (s.extra == Extra::kBias || s.extra == Extra::kGelu) sum += load(o.bias, j, s.out);
      if (s.accumulate) sum += load(o.c, at, s.out);
      if (s.extra == Extra::kGelu) {
        store(o.gelu_input, at, s.out, sum);
        sum = gelu(sum);
      }
      if (s.extra == Extra::kGeluGrad) sum *= gelu_slope(load(o.gelu_input, at, s.out));
      store(o.c, at, s.out, sum);
    }
    if (s.extra == Extra::kRowSums) o.sums[i] = row_sum;
  }
}

class HostMatmul final : public Matmul {
 public:
  explicit HostMatmul(EmulatedDevice& device) : device_(device) {}

  // As a library may refuse: row sums of odd shapes take the other way.
  bool can(const MatmulShape& shape, const MatmulOperands& operands, Workspace) override {
    if (shape.extra == Extra::kGelu || shape.extra == Extra::kGeluGrad) {
      return gelu_fits(shape, operands);
    }
    return shape.extra != Extra::kRowSums || shape.m % 2 == 0;
  }
  void run(const MatmulShape& shape, const MatmulOperands& operands, Workspace workspace,
           Stream stream) override {
    SW_CHECK(can(shape, operands, workspace), "an extra that cannot be done in the same pass");
    device_.run_on(stream, "matmul", [shape, operands] { multiply(shape, operands); });
  }
  void tune(Workspace, Stream, const std::function<void*(Bytes)>&,
            const std::function<void(void*)>&) override {}

 private:
  EmulatedDevice& device_;
};

}  // namespace

std::unique_ptr<Matmul> make_matmul(Device& device) {
  return std::make_unique<HostMatmul>(dynamic_cast<EmulatedDevice&>(device));
}

}  // namespace shardwright
