#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "executor/cuda/bf16.h"
#include "executor/cuda/cuda_ops.h"
#include "executor/cuda/emulation/emulated_device.h"

namespace shardwright {
namespace {

// n of 5000 is more than the grid's threads (4 SMs x 8 blocks x 256 = 8192 is not), 20001 is many.
class ElementwiseTest : public ::testing::TestWithParam<int64_t> {
 protected:
  EmulatedDevice device_;
  std::unique_ptr<Ops> ops_ = make_cuda_ops(device_, 0, DataType::kBf16);
};

TEST_P(ElementwiseTest, FillsAndAdds) {
  const int64_t n = GetParam();
  float* sum = ops_->allocate_floats(n);
  float* x = ops_->allocate_floats(n);
  std::vector<float> host(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) host[static_cast<size_t>(i)] = static_cast<float>(i);
  ops_->upload(x, host.data(), n * 4);
  ops_->fill(sum, 0.5f, n);
  ops_->add_into(sum, x, n);
  ops_->download(host.data(), sum, n * 4);
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(host[static_cast<size_t>(i)], static_cast<float>(i) + 0.5f) << i;
  }
  EXPECT_EQ(device_.memory_errors(), "");
}

TEST_P(ElementwiseTest, CastsToTheNearest) {
  const int64_t n = GetParam();
  float* x = ops_->allocate_floats(n);
  void* y = ops_->allocate(n * 2);
  std::vector<float> host(static_cast<size_t>(n));
  // 1 + i/512 has up to 9 binary places, bf16 keeps 7: 4 steps of 1/512 are one of bf16's.
  for (int64_t i = 0; i < n; ++i)
    host[static_cast<size_t>(i)] = 1 + static_cast<float>(i % 512) / 512;
  ops_->upload(x, host.data(), n * 4);
  ops_->cast(x, y, n);
  std::vector<bf16> out(static_cast<size_t>(n));
  ops_->download(out.data(), y, n * 2);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t in = i % 512, rest = in % 4, below = in / 4;
    const bool up = rest == 3 || (rest == 2 && below % 2 == 1);  // ties to even
    ASSERT_EQ(to_float(out[static_cast<size_t>(i)]), 1 + static_cast<float>(below + up) / 128) << i;
  }
  EXPECT_EQ(device_.memory_errors(), "");
}

INSTANTIATE_TEST_SUITE_P(Sizes, ElementwiseTest, ::testing::Values(1, 255, 5000, 20001));

TEST(Bf16, KeepsSpecialNumbers) {
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(float_of(0x7f800001u)))));  // all its bits are below
  EXPECT_EQ(to_float(to_bf16(INFINITY)), INFINITY);
  EXPECT_EQ(to_float(to_bf16(3.4028235e38f)), INFINITY);
  EXPECT_EQ(bits_of(to_float(to_bf16(-0.0f))), 0x80000000u);
}

}  // namespace
}  // namespace shardwright
