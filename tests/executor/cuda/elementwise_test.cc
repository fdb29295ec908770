#include <cmath>

#include "tests/executor/cuda/support.h"

namespace shardwright::testing {
namespace {

class ElementwiseTest : public CudaOpsTest {
 protected:
  // The grid has at most 4 SMs x 8 blocks x 256 threads = 8192 threads.
  static constexpr int64_t kSizes[] = {1, 255, 5000, 20001};
};

TEST_P(ElementwiseTest, FillsAndAdds) {
  for (const int64_t n : kSizes) {
    Floats counting(static_cast<size_t>(n));
    for (size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<float>(i);
    Tensor x = floats(counting), sum = float_output(n);
    cuda_->fill(Side(true).floats(sum), 0.5f, n);
    cuda_->add_into(Side(true).floats(sum), Side(true).floats(x), n);
    const std::vector<double> values = device_values(sum);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], static_cast<double>(i) + 0.5) << i;
    }
  }
}

TEST_P(ElementwiseTest, ZeroesAndCopies) {
  Tensor x = typed(random(1000)), y = typed_output(1000);
  both([&](Ops& ops, Side at) {
    const Bytes bytes = at.on_device() ? x.elements * x.device_element_bytes() : 4000;
    ops.copy(at(y), at(x), bytes);
    ops.zero(at(x), bytes);
  });
  expect_same(y, 0);
  expect_close(device_values(x), std::vector<double>(1000, 0.0), 0);
}

TEST_P(ElementwiseTest, CastsToTheNearest) {
  for (const int64_t n : kSizes) {
    // 1 + i/512 has up to 9 binary places, bf16 keeps 7: 4 steps of 1/512 are one of bf16's.
    Floats values(static_cast<size_t>(n));
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1 + static_cast<float>(i % 512) / 512;
    Tensor x = floats(values), y = typed_output(n);
    cuda_->cast(Side(true).floats(x), Side(true)(y), n);
    const std::vector<double> out = device_values(y);
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t rest = i % 4, below = i % 512 / 4;
      const bool up = rest == 3 || (rest == 2 && below % 2 == 1);  // ties to even
      const double rounded = 1 + static_cast<double>(below + up) / 128;
      ASSERT_EQ(out[i], GetParam() == DataType::kBf16 ? rounded : values[i]) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ElementwiseTest, kBothTypes);

TEST(Bf16, KeepsSpecialNumbers) {
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(float_of(0x7f800001u)))));  // all its bits are below
  EXPECT_EQ(to_float(to_bf16(INFINITY)), INFINITY);
  EXPECT_EQ(to_float(to_bf16(3.4028235e38f)), INFINITY);
  EXPECT_EQ(bits_of(to_float(to_bf16(-0.0f))), 0x80000000u);
}

}  // namespace
}  // namespace shardwright::testing
