// Shared by the tests of passes over memory, beside support.h: arrays that start off their
// boundary, and narrow tolerances, because these kernels round once.
//
// Tolerances. fp32: 2e-6 of the element and of the root mean square of the expected array, as
// tests/executor/cpu/test_support.h has it and for its reasons. An output in bf16 is rounded once
// more, by up to half a unit of its last place: 2^-8 of the element (7 bits are stored). Nothing
// else in a kernel may lose that much, so nothing else is allowed for.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "tests/executor/cuda/support.h"

namespace shardwright::testing {

using Tokens = std::vector<int32_t>;

constexpr double kFp32Error = 2e-6;

// An output that a kernel must overwrite completely.
inline Floats poisoned(int64_t elements) {
  return Floats(static_cast<size_t>(elements), std::numeric_limits<float>::quiet_NaN());
}

inline void expect_near(const Floats& actual, const Floats& expected, DataType type,
                        const std::string& what, double fp32_error = kFp32Error) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double squares = 0;
  for (float value : expected) squares += double{value} * value;
  const double typical =
      expected.empty() ? 0 : std::sqrt(squares / static_cast<double>(expected.size()));
  const double rounding = type == DataType::kBf16 ? kBf16Rounding : 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double size = std::fabs(expected[i]);
    // Written so that NaN fails.
    ASSERT_TRUE(std::fabs(double{actual[i]} - expected[i]) <=
                rounding * size + fp32_error * (size + typical))
        << what << ", element " << i << " of " << actual.size() << ": " << actual[i]
        << ", expected " << expected[i];
  }
}

// Memory of the emulated device, outside of the arena so that every array has guards around it.
// `offset` moves the first element off its 256-byte boundary.
class DeviceArray {
 public:
  DeviceArray(Device& device, Ops& ops, const Floats& values, DataType type, int64_t offset = 0)
      : device_(device),
        ops_(ops),
        type_(type),
        size_(static_cast<int64_t>(values.size())),
        offset_(offset) {
    block_ = device.allocate((size_ + offset) * size_of(type));
    if (size_ > 0) write(values);
  }
  ~DeviceArray() { device_.free(block_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void* get() const { return static_cast<char*>(block_) + offset_ * size_of(type_); }
  float* floats() const { return static_cast<float*>(get()); }

  void write(const Floats& values) const {
    if (type_ == DataType::kFp32) return ops_.upload(get(), values.data(), size_ * 4);
    std::vector<bf16> rounded;
    for (float value : values) rounded.push_back(to_bf16(value));
    ops_.upload(get(), rounded.data(), size_ * 2);
  }
  Floats read() const {
    Floats out(static_cast<size_t>(size_));
    if (size_ == 0) return out;
    if (type_ == DataType::kFp32) {
      ops_.download(out.data(), get(), size_ * 4);
      return out;
    }
    std::vector<bf16> values(out.size());
    ops_.download(values.data(), get(), size_ * 2);
    for (size_t i = 0; i < out.size(); ++i) out[i] = to_float(values[i]);
    return out;
  }

 private:
  Device& device_;
  Ops& ops_;
  DataType type_;
  int64_t size_, offset_;
  void* block_;
};

class KernelTest : public CudaOpsTest {
 protected:
  DataType type() const { return GetParam(); }

  // Uniform in [-scale, scale), rounded to the compute type.
  Floats random(int64_t elements, float scale = 1.0f) {
    return rounded(random_fp32(elements, scale));
  }
  Floats random_fp32(int64_t elements, float scale = 1.0f) {
    std::uniform_real_distribution<float> values(-scale, scale);
    Floats out(static_cast<size_t>(elements));
    for (float& value : out) value = values(generator_);
    return out;
  }
  Floats rounded(Floats values) const {
    if (type() == DataType::kBf16) {
      for (float& value : values) value = to_float(to_bf16(value));
    }
    return values;
  }
  Tokens random_tokens(int64_t count, int32_t below) {
    std::uniform_int_distribution<int32_t> values(0, below - 1);
    Tokens out(static_cast<size_t>(count));
    for (int32_t& value : out) value = values(generator_);
    return out;
  }

  // Of the compute type, and fp32.
  DeviceArray put(const Floats& values, int64_t offset = 0) {
    return DeviceArray(device_, *cuda_, values, type(), offset);
  }
  DeviceArray put_fp32(const Floats& values, int64_t offset = 0) {
    return DeviceArray(device_, *cuda_, values, DataType::kFp32, offset);
  }
  // Lives as long as the test.
  const int32_t* put_tokens(const Tokens& tokens) {
    tokens_.push_back(ints(tokens));
    return Side(true).ints(tokens_.back());
  }

 private:
  std::vector<Tensor> tokens_;
};

}  // namespace shardwright::testing
