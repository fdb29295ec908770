#include "executor/cuda/arena.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "costmodel/check.h"
#include "executor/cuda/emulation/emulated_device.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

constexpr Bytes kArena = Bytes{1} << 20;

class ArenaTest : public ::testing::Test {
 protected:
  std::byte* allocate(Bytes bytes) {
    uses_ = {};
    return static_cast<std::byte*>(arena_.allocate(bytes, &uses_));
  }
  void free(void* block, Lane lane = Lane::kCompute, int instruction = -1) {
    arena_.free(block, lane, instruction);
  }
  // A step: some live blocks at the start, random calls, everything of the step freed at its end.
  std::vector<std::byte*> run_step(unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::byte*> addresses, live;
    for (int i = 0; i < 200; ++i) {
      if (!live.empty() && random() % 2 == 0) {
        const size_t at = random() % live.size();
        free(live[at]);
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
      } else {
        live.push_back(allocate(1 + static_cast<Bytes>(random() % 9000)));
        addresses.push_back(live.back());
      }
    }
    for (std::byte* block : live) free(block);
    return addresses;
  }

  EmulatedDevice device_;
  Arena arena_{device_, kArena};
  LastUses uses_{};
};

TEST_F(ArenaTest, BlocksAreAlignedApartAndCountedExactly) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::map<std::byte*, Bytes> live;
    Bytes live_bytes = 0, padding = 0, peak = 0;
    arena_.reset_peak();
    for (int i = 0; i < 500; ++i) {
      if (!live.empty() && random() % 2 == 0) {
        const auto gone = std::next(live.begin(), static_cast<long>(random() % live.size()));
        live_bytes -= gone->second;
        padding -= round_up(gone->second, 256) - gone->second;
        free(gone->first);
        live.erase(gone);
      } else {
        const Bytes bytes = 1 + static_cast<Bytes>(random() % 3000);
        std::byte* block = allocate(bytes);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(block) % 256, 0u);
        const auto next = live.lower_bound(block);
        ASSERT_TRUE(next == live.end() || block + bytes <= next->first);
        ASSERT_TRUE(next == live.begin() ||
                    std::prev(next)->first + std::prev(next)->second <= block);
        live[block] = bytes;
        live_bytes += bytes;
        padding += round_up(bytes, 256) - bytes;
      }
      peak = std::max(peak, live_bytes);
      ASSERT_EQ(arena_.live_bytes(), live_bytes);
      ASSERT_EQ(arena_.peak_bytes(), peak);
      ASSERT_EQ(arena_.padding_bytes(), padding);
    }
    for (const auto& [block, bytes] : live) free(block);
    std::byte* whole = allocate(kArena);  // free stretches have become one again
    free(whole);
  }
  EXPECT_EQ(arena_.reserved_bytes(), kArena);
  EXPECT_EQ(arena_.reach_bytes(), kArena);
}

TEST_F(ArenaTest, StepsRepeatTheirAddresses) {
  std::vector<std::byte*> kept;  // weights, with holes between them
  for (int i = 0; i < 10; ++i) kept.push_back(allocate(1000 + 700 * i));
  for (int i = 0; i < 10; i += 3) free(kept[static_cast<size_t>(i)]);
  for (unsigned seed = 0; seed < 10; ++seed) {
    const auto first = run_step(seed);
    run_step(seed + 100);  // another step in between changes nothing
    EXPECT_EQ(run_step(seed), first) << "seed " << seed;
  }
}

TEST_F(ArenaTest, WhoeverGetsFreedMemoryIsToldWhoUsedIt) {
  std::byte* a = allocate(256);
  std::byte* b = allocate(256);
  std::byte* c = allocate(256);
  std::byte* wall = allocate(kArena - 3 * 256);
  free(a, Lane::kActivationIn, 4);
  free(c, Lane::kData, 9);
  free(b, Lane::kActivationIn, 7);  // joins the three
  LastUses expected{};
  expected[static_cast<size_t>(Lane::kActivationIn)] = 7 + 1;
  expected[static_cast<size_t>(Lane::kData)] = 9 + 1;
  EXPECT_EQ(allocate(300), a);  // the rest keeps the marks
  EXPECT_EQ(uses_, expected);
  EXPECT_EQ(allocate(256), c);
  EXPECT_EQ(uses_, expected);
  free(c, Lane::kCompute, 3);
  arena_.forget_uses();
  EXPECT_EQ(allocate(1), c);
  EXPECT_EQ(uses_, LastUses{});
  free(wall);
}

TEST_F(ArenaTest, ReceivesNeverGetWhatASendFreed) {
  std::byte* a = allocate(1000);
  std::byte* b = allocate(1000);
  std::byte* wall = allocate(kArena - 3 * 1024);
  free(a, Lane::kActivationOut, 4);
  EXPECT_EQ(arena_.live_bytes(), 1000 + kArena - 3 * 1024) << "it is free all the same";
  for (const Lane lane : {Lane::kActivationIn, Lane::kGradientIn}) {
    uses_ = {};
    void* received = arena_.allocate(900, &uses_, lane);
    EXPECT_NE(received, a);
    EXPECT_EQ(uses_, LastUses{});
    EXPECT_THROW(arena_.allocate(900, &uses_, lane), ExecError) << "only what was sent is left";
    free(received);
  }
  // The next output has the size of the last and takes its place, when the send is over.
  LastUses sent{};
  sent[static_cast<size_t>(Lane::kActivationOut)] = 4 + 1;
  EXPECT_EQ(allocate(1000), a);
  EXPECT_EQ(uses_, sent);
  free(b, Lane::kGradientOut, 5);
  free(a, Lane::kActivationOut, 6);
  free(wall);
  arena_.forget_uses();
  std::byte* whole = allocate(kArena);  // and after the step all of it is one stretch
  EXPECT_EQ(uses_, LastUses{});
  free(whole);
}

TEST_F(ArenaTest, SaysWhatIsMissing) {
  std::byte* a = allocate(kArena / 2);
  allocate(kArena / 4 - 100);
  free(a);
  try {
    allocate(kArena / 2 + 1);
    FAIL() << "there is no room";
  } catch (const ExecError& error) {
    EXPECT_STREQ(error.what(),
                 "rank 0: allocate: no room for 524289 bytes: 262044 of 1048576 bytes are live, "
                 "the longest free stretch has 524288");
  }
  EXPECT_EQ(allocate(0), nullptr);
  EXPECT_THROW(free(a), BrokenInvariant);  // twice
}

TEST_F(ArenaTest, GrowsOutsideOfStepsOnly) {
  Arena growing(device_, 0);
  void* small = growing.allocate(100, &uses_);
  const Bytes before = growing.reserved_bytes();
  device_.open_step();
  void* beside = growing.allocate(before - 256, &uses_);
  EXPECT_THROW(growing.allocate(1, &uses_), ExecError);
  device_.close_step();
  void* more = growing.allocate(1, &uses_);
  EXPECT_GT(growing.reserved_bytes(), before);
  for (void* block : {small, beside, more}) growing.free(block, Lane::kCompute, -1);
}

}  // namespace
}  // namespace shardwright
