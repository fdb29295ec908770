// Probing for a GPU answers with a number or with one line, on every machine and in every build.
#include "executor/cuda/cuda_device.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

TEST(CudaDevice, CountOrOneLine) {
  const Result<int> count = cuda_device_count();
  if (count) {
    EXPECT_GE(*count, 1);
  } else {
    const std::string line = count.error().line();
    EXPECT_EQ(line.rfind("no CUDA device: ", 0), 0u) << line;
    EXPECT_GT(line.size(), std::string("no CUDA device: ").size());
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace shardwright
