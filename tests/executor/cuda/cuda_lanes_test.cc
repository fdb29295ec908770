// What CudaLanes tells the device, and that work of different lanes meets as it should: with
// deferred streams the emulated device runs lanes as far apart as their waits allow.
#include "executor/cuda/cuda_lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "costmodel/check.h"
#include "executor/cuda/cuda_ops.h"
#include "executor/cuda/emulation/emulated_device.h"

namespace shardwright {
namespace {

using Kind = EmulatedDevice::Kind;

// Position of the first call like this, or -1. event -1: any.
int find(const EmulatedDevice& device, Kind kind, int stream, int event = -1) {
  const auto& calls = device.calls();
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto& call = calls[i];
    if (call.kind == kind && call.stream == stream && (event < 0 || call.event == event)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int stream_of(Lane lane) { return static_cast<int>(lane); }  // made in that order

// --- the calls ---

class CudaLanesTest : public ::testing::Test {
 protected:
  EmulatedDevice device_;
  CudaLanes lanes_{device_, false};

  int last_event() const { return device_.calls().back().event; }
};

TEST_F(CudaLanesTest, AnotherLaneWaitsForTheInstructionsEvent) {
  lanes_.start_step(true);
  lanes_.begin(0, Lane::kCompute, {});
  lanes_.end(0);
  const int event = last_event();  // recorded at the end of instruction 0
  EXPECT_EQ(device_.calls().back().kind, Kind::kRecord);
  lanes_.begin(1, Lane::kActivationOut, std::vector<int>{0});
  const int out = stream_of(Lane::kActivationOut);
  const int recorded = find(device_, Kind::kRecord, stream_of(Lane::kCompute), event);
  const int waited = find(device_, Kind::kWait, out, event);
  EXPECT_LT(recorded, waited);
  EXPECT_GE(recorded, 0);
  lanes_.end(1);
  lanes_.finish_step();
}

TEST_F(CudaLanesTest, TheSameLaneWaitsForNothing) {
  lanes_.start_step(true);
  for (int i = 0; i < 3; ++i) {
    lanes_.begin(i, Lane::kCompute, i > 0 ? std::vector<int>{i - 1} : std::vector<int>{});
    lanes_.end(i);
  }
  EXPECT_EQ(find(device_, Kind::kWait, stream_of(Lane::kCompute)), -1);
  lanes_.finish_step();
}

TEST_F(CudaLanesTest, ALaterWaitCoversAnEarlierOne) {
  lanes_.start_step(true);
  for (int i = 0; i < 3; ++i) {
    lanes_.begin(i, Lane::kCompute, {});
    lanes_.end(i);
  }
  lanes_.begin(3, Lane::kData, std::vector<int>{2});
  lanes_.end(3);
  device_.forget_calls();
  lanes_.begin(4, Lane::kData, std::vector<int>{0, 1});
  EXPECT_EQ(find(device_, Kind::kWait, stream_of(Lane::kData)), -1);
  lanes_.end(4);
  lanes_.finish_step();
}

TEST_F(CudaLanesTest, EveryLaneStartsAfterTheStepAndEndsBeforeIt) {
  lanes_.start_step(true);
  const int start = last_event();
  lanes_.begin(0, Lane::kGradientIn, {});
  const int in = stream_of(Lane::kGradientIn), compute = stream_of(Lane::kCompute);
  EXPECT_GE(find(device_, Kind::kWait, in, start), 0);
  lanes_.end(0);
  device_.forget_calls();
  lanes_.finish_step();
  const int ended = find(device_, Kind::kRecord, in);
  ASSERT_GE(ended, 0);
  EXPECT_LT(ended, find(device_, Kind::kWait, compute, device_.calls()[ended].event));
  // Lanes that were not used are left alone.
  EXPECT_EQ(find(device_, Kind::kRecord, stream_of(Lane::kData)), -1);
}

TEST_F(CudaLanesTest, StampsTellWhenWorkWasDone) {
  Stream compute = static_cast<Stream>(lanes_.current_stream());
  lanes_.start_step(true);
  lanes_.begin(0, Lane::kCompute, {});
  const int64_t before = lanes_.stamp();
  for (int i = 0; i < 5; ++i) device_.run_on(compute, "work", [] {});
  const int64_t after = lanes_.stamp();
  lanes_.end(0);
  EXPECT_THROW(lanes_.ns_of(after), BrokenInvariant);  // the step is not over
  lanes_.finish_step();
  // Five pieces of work and the second stamp itself, a microsecond of the emulation each.
  EXPECT_EQ(lanes_.ns_of(after) - lanes_.ns_of(before), 6000);
}

TEST_F(CudaLanesTest, NothingIsMadeOnceEverythingIsInItsPlace) {
  for (int step = 0; step < 3; ++step) {
    lanes_.start_step(true);
    for (int i = 0; i < 4; ++i) {
      lanes_.begin(i, i % 2 == 0 ? Lane::kCompute : Lane::kData, {});
      lanes_.stamp();
      lanes_.end(i);
    }
    lanes_.finish_step();
    if (step > 0) {
      EXPECT_EQ(device_.made_in_step(), 0);
    }
  }
}

TEST_F(CudaLanesTest, MistakesAreNamed) {
  EXPECT_THROW(lanes_.begin(0, Lane::kCompute, {}), BrokenInvariant);
  lanes_.start_step(true);
  EXPECT_THROW(device_.allocate(1), BrokenInvariant);
  EXPECT_THROW(device_.synchronize(), BrokenInvariant);
  lanes_.begin(0, Lane::kCompute, {});
  EXPECT_THROW(lanes_.begin(1, Lane::kCompute, {}), BrokenInvariant);
  EXPECT_THROW(lanes_.end(1), BrokenInvariant);
  lanes_.end(0);
  EXPECT_THROW(lanes_.begin(1, Lane::kCompute, std::vector<int>{1}), BrokenInvariant);
}

// --- the watch ---

class Watch : public StepWatch {
 public:
  void poll(const StepProgress& progress) override {
    ++polls;
    if (polls == 1) unfinished.assign(progress.unfinished.begin(), progress.unfinished.end());
  }
  void step_finished() override { ++finished; }
  int polls = 0, finished = 0;
  std::vector<int> unfinished;  // at the first poll
};

// --- what they are for: the right data ---

struct Rig {
  Rig(uint32_t seed, bool graph)
      : device(0, {.deferred = true, .seed = seed}),
        ops(make_cuda_ops(device, 0, DataType::kFp32,
                          {.arena_bytes = 1 << 20, .scratch_bytes = 1 << 20, .graph = graph})),
        lanes(dynamic_cast<CudaLanes&>(ops->lanes())) {}
  void run(int index, Lane lane, std::vector<int> after, const std::function<void()>& calls) {
    lanes.begin(index, lane, after);
    calls();
    lanes.end(index);
  }
  EmulatedDevice device;
  std::unique_ptr<Ops> ops;
  CudaLanes& lanes;
};

constexpr int64_t kMany = 300;

// x = 1 on the compute lane, y = x on another: with or without the wait. How many of 20 orders of
// the streams gave another result than 1?
int wrong_results(bool with_wait) {
  int wrong = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    Rig rig(seed, false);
    Ops& ops = *rig.ops;
    float* x = ops.allocate_floats(kMany);
    float* y = ops.allocate_floats(kMany);
    ops.zero(x, kMany * 4);
    ops.synchronize();
    rig.lanes.start_step(true);
    rig.run(0, Lane::kCompute, {}, [&] { ops.fill(x, 1, kMany); });
    rig.run(1, Lane::kData, with_wait ? std::vector<int>{0} : std::vector<int>{},
            [&] { ops.copy(y, x, kMany * 4); });
    rig.lanes.finish_step();
    std::vector<float> out(kMany);
    ops.download(out.data(), y, kMany * 4);
    if (out != std::vector<float>(kMany, 1.0f)) ++wrong;
    ops.free(x);
    ops.free(y);
  }
  return wrong;
}

TEST(CudaLanesOrder, WaitsOrderLanes) { EXPECT_EQ(wrong_results(true), 0); }
TEST(CudaLanesOrder, TheEmulationFindsMissingWaits) { EXPECT_GT(wrong_results(false), 0); }

// Instruction 0 reads x slowly on the data lane and x is freed; instruction 1 on the compute lane
// gets the memory of x, cut in two, without any wait in the program.
TEST(CudaLanesOrder, MemoryIsReusedOnlyWhenItIsFree) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    Rig rig(seed, false);
    Ops& ops = *rig.ops;
    float* sum = ops.allocate_floats(kMany);
    ops.zero(sum, kMany * 4);
    ops.synchronize();
    rig.lanes.start_step(true);
    float* x = ops.allocate_floats(2 * kMany);
    rig.run(0, Lane::kData, {}, [&] {
      ops.fill(x, 1, 2 * kMany);
      ops.add_into(sum, x + kMany, kMany);
    });
    ops.free(x);
    float* y = ops.allocate_floats(kMany);
    float* z = ops.allocate_floats(kMany);
    ASSERT_TRUE(y == x && z > x && z < x + 2 * kMany);
    rig.run(1, Lane::kCompute, {}, [&] {
      ops.fill(z, 5, kMany);
      ops.fill(y, 5, kMany);
    });
    rig.lanes.finish_step();
    std::vector<float> out(kMany);
    ops.download(out.data(), sum, kMany * 4);
    EXPECT_EQ(out, std::vector<float>(kMany, 1.0f)) << "seed " << seed;
    ops.free(y);
    ops.free(z);
    ops.free(sum);
  }
}

// sum += input in every step, the input from host memory, by way of a second lane.
TEST(CudaLanesOrder, AGraphRepeatsTheStep) {
  for (uint32_t seed = 0; seed < 5; ++seed) {
    Rig rig(seed, true);
    Ops& ops = *rig.ops;
    auto* host = static_cast<float*>(ops.host_block(kMany * 4));
    float* sum = ops.allocate_floats(kMany);
    ops.zero(sum, kMany * 4);
    ops.synchronize();
    float expected = 0;
    std::vector<bool> issued;
    int64_t first = 0, last = 0;
    for (int step = 0; step < 7; ++step) {
      std::fill_n(host, kMany, static_cast<float>(step));
      expected += static_cast<float>(step);
      const bool may_replay = step != 4;
      issued.push_back(rig.lanes.start_step(may_replay));
      if (issued.back()) {
        float* x = ops.allocate_floats(kMany);
        rig.run(0, Lane::kData, {}, [&] {
          first = rig.lanes.stamp();
          ops.upload(x, host, kMany * 4);
        });
        rig.run(1, Lane::kCompute, {0}, [&] {
          ops.add_into(sum, x, kMany);
          last = rig.lanes.stamp();
        });
        ops.free(x);
      }
      rig.lanes.finish_step();
      EXPECT_LT(rig.lanes.ns_of(first), rig.lanes.ns_of(last));
    }
    // Two plain steps, recorded, repeated, not allowed, recorded again, repeated.
    EXPECT_EQ(issued, (std::vector<bool>{true, true, true, false, true, true, false}));
    std::vector<float> out(kMany);
    ops.download(out.data(), sum, kMany * 4);
    EXPECT_EQ(out, std::vector<float>(kMany, expected)) << "seed " << seed;
    ops.free(sum);
  }
}

TEST(CudaLanesOrder, AStepInWhichTheHostWaitsIsNotRecorded) {
  Rig rig(1, true);
  for (int step = 0; step < 5; ++step) {
    EXPECT_TRUE(rig.lanes.start_step(true));
    rig.run(0, Lane::kData, {}, [&] { rig.ops->synchronize(); });
    rig.lanes.finish_step();
  }
}

TEST(CudaLanesOrder, TheWatchIsAskedWhileTheHostWaits) {
  Rig rig(1, false);
  Watch watch;
  rig.lanes.set_watch(&watch);
  rig.lanes.start_step(true);
  // The device does one piece of work per look, and the host looks every 20 us: 40 ms.
  rig.run(0, Lane::kCompute, {}, [] {});
  rig.run(1, Lane::kData, {}, [&] {
    for (int i = 0; i < 2000; ++i) rig.device.run_on(rig.lanes.stream(), "work", [] {});
  });
  rig.lanes.finish_step();
  EXPECT_GE(watch.polls, 1);
  EXPECT_EQ(watch.unfinished, std::vector<int>{1});
  EXPECT_EQ(watch.finished, 1);
  rig.lanes.set_watch(nullptr);
}

}  // namespace
}  // namespace shardwright
