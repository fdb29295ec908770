#include "executor/cpu/allocator.h"

#include <gtest/gtest.h>

#include "costmodel/check.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

TEST(CachingAllocatorTest, CountsRequestedBytes) {
  CachingAllocator allocator(0);
  void* a = allocator.allocate(400);
  void* b = allocator.allocate(28);
  EXPECT_EQ(allocator.live_bytes(), 428);
  allocator.free(a);
  EXPECT_EQ(allocator.live_bytes(), 28);
  EXPECT_EQ(allocator.peak_bytes(), 428);
  allocator.reset_peak();
  EXPECT_EQ(allocator.peak_bytes(), 28);
  allocator.free(b);
  EXPECT_EQ(allocator.live_bytes(), 0);
}

TEST(CachingAllocatorTest, BlocksAreAlignedAndReused) {
  CachingAllocator allocator(0);
  for (const Bytes bytes : {0, 1, 68, 4000, 4 << 20}) {
    void* block = allocator.allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    allocator.free(block);
    EXPECT_EQ(allocator.allocate(bytes), block) << bytes << " bytes";
  }
}

// The class is never smaller than the request, and at most an eighth (or one line) larger.
TEST(CachingAllocatorTest, SizeClassesWasteLittle) {
  for (Bytes bytes = 1; bytes < 100'000'000; bytes += 1 + bytes / 7) {
    const Bytes rounded = size_class_bytes(bytes);
    ASSERT_GE(rounded, bytes);
    ASSERT_LE(rounded, bytes + std::max<Bytes>(64, bytes / 8));
    ASSERT_EQ(rounded % 64, 0);
    ASSERT_EQ(size_class_bytes(rounded), rounded);
  }
}

TEST(CachingAllocatorTest, MistakesAreNamed) {
  CachingAllocator allocator(0);
  void* block = allocator.allocate(1);
  allocator.free(block);
  allocator.free(nullptr);
  EXPECT_THROW(allocator.free(block), BrokenInvariant);
  EXPECT_THROW(allocator.allocate(-1), BrokenInvariant);
}

}  // namespace
}  // namespace shardwright
