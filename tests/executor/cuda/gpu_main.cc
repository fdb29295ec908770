// Runs the kernel tests on the first GPU of this machine; exits with 77 when there is none.
#include <gtest/gtest.h>

#include <iostream>

#include "executor/cuda/cuda_device.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const auto count = shardwright::cuda_device_count();
  if (!count) {
    std::cout << "skipped: " << count.error().line() << "\n";
    return 77;
  }
  return RUN_ALL_TESTS();
}
