// Shared by the tests of GPU kernels: the same inputs go to the CPU's Ops in fp32 and to the GPU's
// Ops on the emulated device (or on a real one), outputs start as NaN on both, and the results are
// compared.
//
//   class NormTest : public CudaOpsTest {};
//   TEST_P(NormTest, RmsNorm) {
//     Tensor x = typed(random(T * cols)), gamma = typed(random(cols)), y = typed_output(T * cols);
//     Tensor stats = float_output(2 * T);
//     both([&](Ops& ops, Side at) {
//       ops.norm(Norm::kRmsNorm, at(x), at(gamma), nullptr, 1e-5f, at(y), at.floats(stats), T,
//       cols);
//     });
//     expect_same(y, rounding());
//     expect_same(stats, kFp32Tolerance);
//   }
//   INSTANTIATE_TEST_SUITE_P(Types, NormTest, kBothTypes);
//
// Inputs of the compute type are rounded to it on both sides, so that only the computation differs.
// An element may differ by the tolerance times (its size + the root mean square of the expected
// array), because sums cancel.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "executor/cpu/cpu_ops.h"
#include "executor/cuda/bf16.h"
#include "executor/cuda/cuda_ops.h"
#include "executor/cuda/emulation/emulated_device.h"
#ifdef SHARDWRIGHT_TEST_ON_GPU
#include "executor/cuda/cuda_device.h"
#endif

namespace shardwright::testing {

#ifdef SHARDWRIGHT_TEST_ON_GPU
// The same tests on a GPU (gpu_main.cc): what only the emulation knows is empty there.
class TestDevice {
 public:
  operator Device&() { return *device_; }  // NOLINT
  const DeviceProperties& properties() const { return device_->properties(); }
  void* allocate(Bytes bytes) { return device_->allocate(bytes); }
  void free(void* block) { device_->free(block); }
  const std::vector<EmulatedDevice::Call>& calls() const { return none_; }
  void forget_calls() {}
  void set_order(emulation::ThreadOrder) {}
  std::string memory_errors() { return ""; }

 private:
  std::unique_ptr<Device> device_ = make_cuda_device(0, 0);
  std::vector<EmulatedDevice::Call> none_;
};
#else
using TestDevice = EmulatedDevice;
#endif

using Floats = std::vector<float>;

// fp32 rounds to 2^-24 = 6e-8; both sides form sums of up to some hundred terms in orders of their
// own, each off by about sqrt(n) of that. Tests that need more say why.
constexpr double kFp32Tolerance = 4e-6;
// bf16 keeps 8 binary digits: the nearest is at most 2^-8 of the value away. Where fp32 results
// differ in their last bits, the two sides may round to neighbours, which are 2^-7 apart.
constexpr double kBf16Rounding = 1.0 / 256;

// One array on both sides.
class Tensor {
 public:
  enum class Element { kTyped, kFloat, kDouble, kInt };
  Tensor() = default;  // null on both sides

  int64_t elements = 0;
  Element element = Element::kFloat;
  DataType type = DataType::kFp32;  // of the device's side, when kTyped
  std::shared_ptr<std::vector<std::byte>> host;
  std::shared_ptr<void> device;

  Bytes host_element_bytes() const { return element == Element::kDouble ? 8 : 4; }
  Bytes device_element_bytes() const {
    return element == Element::kTyped ? size_of(type) : host_element_bytes();
  }
};

// Where a tensor is on the side that is being called.
class Side {
 public:
  explicit Side(bool on_device) : on_device_(on_device) {}
  void* operator()(const Tensor& t) const {
    return on_device_ ? t.device.get() : t.host ? t.host->data() : nullptr;
  }
  float* floats(const Tensor& t) const { return static_cast<float*>((*this)(t)); }
  double* doubles(const Tensor& t) const { return static_cast<double*>((*this)(t)); }
  int32_t* ints(const Tensor& t) const { return static_cast<int32_t*>((*this)(t)); }
  bool on_device() const { return on_device_; }

 private:
  bool on_device_;
};

class CudaOpsTest : public ::testing::TestWithParam<DataType> {
 protected:
  // Uniform in [-scale, scale).
  Floats random(int64_t elements, float scale = 1.0f) {
    std::uniform_real_distribution<float> values(-scale, scale);
    Floats out(static_cast<size_t>(elements));
    for (float& value : out) value = values(generator_);
    return out;
  }
  Tensor random_tokens(int64_t count, int32_t below) {
    std::uniform_int_distribution<int32_t> values(0, below - 1);
    std::vector<int32_t> out(static_cast<size_t>(count));
    for (int32_t& value : out) value = values(generator_);
    return ints(out);
  }

  // Arrays with contents.
  Tensor typed(Floats values) {
    const bool rounded = GetParam() == DataType::kBf16;
    std::vector<bf16> small;
    for (float& value : values) {
      small.push_back(to_bf16(value));
      if (rounded) value = to_float(small.back());
    }
    Tensor out = make(Tensor::Element::kTyped, static_cast<int64_t>(values.size()));
    std::memcpy(out.host->data(), values.data(), values.size() * 4);
    const void* from = rounded ? static_cast<const void*>(small.data()) : values.data();
    copy_in(out, from);
    return out;
  }
  Tensor floats(const Floats& values) { return same(Tensor::Element::kFloat, values); }
  Tensor doubles(const std::vector<double>& values) {
    return same(Tensor::Element::kDouble, values);
  }
  Tensor ints(const std::vector<int32_t>& values) { return same(Tensor::Element::kInt, values); }
  // Anything that kernels read as bytes, the same on both sides; a multiple of 4 bytes.
  template <typename T>
  Tensor object(const T& value) {
    std::vector<int32_t> words(sizeof(T) / 4);
    std::memcpy(words.data(), &value, sizeof(T));
    return ints(words);
  }
  // Arrays of NaN.
  Tensor typed_output(int64_t elements) { return make(Tensor::Element::kTyped, elements); }
  Tensor float_output(int64_t elements) { return make(Tensor::Element::kFloat, elements); }
  Tensor double_output(int64_t elements) { return make(Tensor::Element::kDouble, elements); }

  // f(Ops&, Side) on the CPU, then on the emulated device.
  template <typename F>
  void both(F&& f) {
    f(*cpu_, Side(false));
    f(*cuda_, Side(true));
    cuda_->synchronize();
  }

  // What the device has, as numbers, and what the CPU has.
  std::vector<double> device_values(const Tensor& t) const {
    const Bytes bytes = t.elements * t.device_element_bytes();
    std::vector<std::byte> copy(static_cast<size_t>(bytes));
    cuda_->download(copy.data(), t.device.get(), bytes);
    const bool half = t.element == Tensor::Element::kTyped && t.type == DataType::kBf16;
    return values(t, copy.data(), half);
  }
  std::vector<double> host_values(const Tensor& t) const {
    const Side at(false);
    return values(t, at(t), false);
  }

  void expect_same(const Tensor& t, double tolerance, const std::string& what = "") const {
    expect_close(device_values(t), host_values(t), tolerance, what);
  }
  static void expect_close(const std::vector<double>& actual, const std::vector<double>& expected,
                           double tolerance, const std::string& what = "") {
    ASSERT_EQ(actual.size(), expected.size());
    double squares = 0;
    for (double value : expected) squares += value * value;
    const double typical = std::sqrt(squares / static_cast<double>(expected.size()));
    for (size_t i = 0; i < actual.size(); ++i) {
      if (actual[i] == expected[i]) continue;  // infinities too
      const double error = std::fabs(actual[i] - expected[i]);
      // Written so that NaN fails.
      ASSERT_TRUE(error <= tolerance * (std::fabs(expected[i]) + typical))
          << what << " element " << i << ": " << actual[i] << ", expected " << expected[i];
    }
  }

  // Of an output of the compute type.
  double rounding() const { return GetParam() == DataType::kBf16 ? kBf16Rounding : kFp32Tolerance; }

  void TearDown() override { EXPECT_EQ(device_.memory_errors(), ""); }

  // Little working memory, because the emulation fills it with NaN for every test; and a piece of
  // device memory for every block, so that writing behind one is noticed.
  static constexpr CudaOptions kSmall{.piece_bytes = 0, .scratch_bytes = Bytes{4} << 20};

  TestDevice device_;
  std::unique_ptr<Ops> cpu_ = make_cpu_ops(0);
  std::unique_ptr<Ops> cuda_ = make_cuda_ops(device_, 0, GetParam(), kSmall);
  std::mt19937 generator_{20240607};

 private:
  Tensor make(Tensor::Element element, int64_t elements) {
    Tensor out;
    out.elements = elements;
    out.element = element;
    out.type = GetParam();
    const Bytes bytes = elements * out.host_element_bytes();
    out.host =
        std::make_shared<std::vector<std::byte>>(static_cast<size_t>(bytes), std::byte{0xff});
    out.device = std::shared_ptr<void>(device_.allocate(elements * out.device_element_bytes()),
                                       [this](void* block) { device_.free(block); });
    const std::vector<std::byte> nan(static_cast<size_t>(elements * out.device_element_bytes()),
                                     std::byte{0xff});
    copy_in(out, nan.data());
    return out;
  }
  void copy_in(const Tensor& t, const void* from) {
    cuda_->upload(t.device.get(), from, t.elements * t.device_element_bytes());
  }
  template <typename T>
  Tensor same(Tensor::Element element, const std::vector<T>& values) {
    Tensor out = make(element, static_cast<int64_t>(values.size()));
    std::memcpy(out.host->data(), values.data(), values.size() * sizeof(T));
    copy_in(out, values.data());
    return out;
  }
  static std::vector<double> values(const Tensor& t, const void* from, bool half) {
    std::vector<double> out(static_cast<size_t>(t.elements));
    for (size_t i = 0; i < out.size(); ++i) {
      switch (t.element) {
        case Tensor::Element::kDouble:
          out[i] = static_cast<const double*>(from)[i];
          break;
        case Tensor::Element::kInt:
          out[i] = static_cast<const int32_t*>(from)[i];
          break;
        default:
          out[i] = half ? to_float(static_cast<const bf16*>(from)[i])
                        : static_cast<const float*>(from)[i];
      }
    }
    return out;
  }
};

inline const auto kBothTypes = ::testing::Values(DataType::kFp32, DataType::kBf16);
inline const auto kBf16Only = ::testing::Values(DataType::kBf16);

}  // namespace shardwright::testing
