// The emulation runs right kernels right, and finds the mistakes that it promises to find.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "costmodel/check.h"
#include "executor/cuda/emulation/emulated_device.h"
#include "tests/executor/cuda/test_kernels.h"

namespace shardwright::testing {
namespace {

using emulation::ThreadOrder;

class EmulationTest : public ::testing::TestWithParam<ThreadOrder> {
 protected:
  template <typename T>
  T* upload(const std::vector<T>& values) {
    const Bytes bytes = static_cast<Bytes>(values.size() * sizeof(T));
    auto* block = static_cast<T*>(device_.allocate(bytes));
    device_.copy(block, values.data(), bytes, stream_);
    return block;
  }
  template <typename T>
  void check_block_sum(int blocks, int threads) {
    std::vector<T> x(static_cast<size_t>(blocks * threads));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i % 1000);
    std::vector<T> sums(static_cast<size_t>(blocks));
    T* at = upload(sums);
    launch_block_sum(device_, stream_, upload(x), at, blocks, threads);
    for (int b = 0; b < blocks; ++b) {
      T expected = 0;  // whole numbers: exact in every order
      for (int i = 0; i < threads; ++i) expected += x[static_cast<size_t>(b * threads + i)];
      EXPECT_EQ(at[b], expected) << "block " << b;
    }
  }

  EmulatedDevice device_{0, {.order = GetParam()}};
  Stream stream_ = device_.create_stream();
};

TEST_P(EmulationTest, SumsBlocks) {
  check_block_sum<float>(3, 256);
  check_block_sum<double>(2, 1024);
  check_block_sum<float>(2, 32);
  EXPECT_EQ(device_.memory_errors(), "");
}

TEST_P(EmulationTest, MultipliesOnTensorCores) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> small(-8, 8);  // products and sums are exact
  std::vector<bf16> a(16 * 16), b(16 * 8);
  for (bf16& value : a) value = to_bf16(static_cast<float>(small(random)));
  for (bf16& value : b) value = to_bf16(static_cast<float>(small(random)));
  auto* d = static_cast<float*>(device_.allocate(16 * 8 * 4));
  for (const bool transposed : {false, true}) {
    launch_mma(device_, stream_, transposed, upload(a), upload(b), d);
    for (size_t row = 0; row < 16; ++row) {
      for (size_t column = 0; column < 8; ++column) {
        float expected = 0;
        for (size_t k = 0; k < 16; ++k) {
          expected += to_float(a[row * 16 + k]) *
                      to_float(transposed ? b[k * 8 + column] : b[column * 16 + k]);
        }
        EXPECT_EQ(d[row * 8 + column], expected) << row << " " << column << " " << transposed;
      }
    }
  }
}

class MistakeTest : public EmulationTest {
 protected:
  // What is said about the mistake; "" when nothing is.
  std::string run(Mistake mistake, int threads = 64) {
    std::vector<float> x(static_cast<size_t>(2 * threads));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    y_ = static_cast<float*>(device_.allocate(2 * threads * 4));
    try {
      launch_rotate(device_, stream_, mistake, upload(x), y_, 2, threads);
    } catch (const BrokenInvariant& error) {
      return error.what();
    }
    return "";
  }
  void expect_message(Mistake mistake, const std::vector<std::string>& parts) {
    const std::string message = run(mistake);
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' in: " << message;
    }
    EXPECT_EQ(run(Mistake::kNone), "") << "after a failure the emulation goes on";
  }
  float* y_ = nullptr;
};

TEST_P(MistakeTest, NoneIsRight) {
  EXPECT_EQ(run(Mistake::kNone), "");
  for (int i = 0; i < 128; ++i) EXPECT_EQ(y_[i], i / 64 * 64 + (i + 1) % 64);
}

TEST_P(MistakeTest, MissingBarrierReadsNan) {
  EXPECT_EQ(run(Mistake::kMissingBarrier), "");
  EXPECT_TRUE(std::any_of(y_, y_ + 128, [](float value) { return std::isnan(value); }));
}

TEST_P(MistakeTest, MissingWaitReadsNan) {
  EXPECT_EQ(run(Mistake::kMissingWait), "");
  EXPECT_TRUE(std::all_of(y_, y_ + 128, [](float value) { return std::isnan(value); }));
}

TEST_P(MistakeTest, EarlyExit) {
  expect_message(Mistake::kEarlyExit, {"kernel testing::rotate_kernel", "block (0,0,0)",
                                       "waits for ever in __syncthreads", "1 of 64 threads",
                                       "thread (37,0,0) has left"});
}

TEST_P(MistakeTest, DivergentBarrier) {
  expect_message(Mistake::kDivergentBarrier,
                 {"rotate_kernel", "block (0,0,0), thread (", "at another __syncthreads()"});
}

TEST_P(MistakeTest, MissingLane) {
  expect_message(Mistake::kMissingLane, {"rotate_kernel", "block (0,0,0), thread (",
                                         "waits for ever in __shfl_sync", "has left"});
}

TEST_P(MistakeTest, LaneOutsideMask) {
  expect_message(Mistake::kLaneOutsideMask, {"rotate_kernel", "reads lane 20"});
}

TEST_P(MistakeTest, Misaligned) {
  expect_message(Mistake::kMisaligned, {"rotate_kernel", "not 16-aligned"});
}

TEST_P(MistakeTest, SharedOverrun) {
  expect_message(Mistake::kSharedOverrun, {"rotate_kernel", "behind its 256 bytes"});
}

TEST_P(MistakeTest, WritesBehindABlockOfMemory) {
  auto* x = static_cast<float*>(device_.allocate(64 * 4));
  auto* y = static_cast<float*>(device_.allocate(64 * 4));
  launch_rotate(device_, stream_, Mistake::kNone, x, y, 1, 64);
  EXPECT_EQ(device_.memory_errors(), "");
#ifndef __SANITIZE_ADDRESS__  // which stops at the write itself
  y[64] = 0;
  EXPECT_EQ(device_.memory_errors(), "byte 256 of a block of 256 bytes was written; ");
#endif
}

INSTANTIATE_TEST_SUITE_P(Orders, EmulationTest,
                         ::testing::Values(ThreadOrder::kForward, ThreadOrder::kReverse));
INSTANTIATE_TEST_SUITE_P(Orders, MistakeTest,
                         ::testing::Values(ThreadOrder::kForward, ThreadOrder::kReverse));

}  // namespace
}  // namespace shardwright::testing
