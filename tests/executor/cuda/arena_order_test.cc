// Reused memory makes instructions wait that the Program lets run. On devices, whose sends are over
// when they are received, ranks that wait for each other's memory could never end.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "executor/cuda/arena.h"
#include "executor/cuda/emulation/emulated_device.h"
#include "planner/program/buffers.h"
#include "planner/program/finished_sends.h"
#include "planner/program/readiness.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

class ArenaOrder : public ::testing::Test {
 protected:
  // Adds to the rank's instructions the waits that follow from where its buffers are placed.
  // `finished`: as finished_sends() says, or empty.
  void add_waits(const Program& program, RankProgram* rank, bool lane_is_told,
                 const std::vector<FinishedSends>& finished) {
    std::map<Buffer, void*> live;
    for (int i = 0; i < static_cast<int>(rank->instructions.size()); ++i) {
      Instruction& next = rank->instructions[i];
      const Effects effects = effects_of(program, next);
      LastUses uses{};
      if (!finished.empty()) keep_sent_after(finished[static_cast<size_t>(i)]);
      for (const Buffer& buffer : effects.allocates) {
        live[buffer] = arena_.allocate(bytes_of(program, buffer), &uses,
                                       lane_is_told ? next.lane : Lane::kCompute);
      }
      for (const int use : uses) {
        if (use > 0) next.waits.push_back(use - 1);
      }
      for (const Buffer& buffer : effects.frees) arena_.free(live.at(buffer), next.lane, i);
    }
    arena_.forget_uses();
  }

  void keep_sent_after(const FinishedSends& finished) {
    LastUses over{};
    over[static_cast<size_t>(Lane::kActivationOut)] = finished.activation;
    over[static_cast<size_t>(Lane::kGradientOut)] = finished.gradient;
    arena_.keep_sent_after(over);
  }

  enum class Plans { kPlain, kChunked, kChunkedReusingAllSent };

  // How many of the random plans never end, of those with a pipeline.
  int stuck_plans(bool lane_is_told, Plans plans, int* tried) {
    const bool chunked = plans != Plans::kPlain;
    std::mt19937 random(3);
    int stuck = 0;
    for (const char* name : {"tiny-gpt", "tiny-llama"}) {
      const ModelSpec model = shipped_model(name);
      for (int i = 0; i < 60; ++i) {
        const Plan plan =
            chunked ? random_chunked_plan(model, &random) : random_plan(model, &random);
        if (plan.pp == 1) continue;
        Program program = compile(model, plan, {.overlap = true});
        EXPECT_EQ(keeps_sent_memory(program), chunked);
        std::vector<std::vector<FinishedSends>> finished(program.ranks.size());
        for (size_t at = 0; at < finished.size() && plans == Plans::kChunked; ++at) {
          finished[at] = finished_sends(program, static_cast<int>(at));
        }
        program.messages = MessageMode::kRendezvous;
        for (size_t at = 0; at < finished.size(); ++at) {
          add_waits(program, &program.ranks[at], lane_is_told, finished[at]);
        }
        const Readiness rule(program);
        stuck += rule.walk([](std::span<const Ref>) {}).empty() ? 0 : 1;
        ++*tried;
      }
    }
    return stuck;
  }

  EmulatedDevice device_;
  Arena arena_{device_, Bytes{1} << 25};
};

TEST_F(ArenaOrder, RandomPlansEndWithSendsThatWait) {
  int tried = 0;
  EXPECT_EQ(stuck_plans(true, Plans::kPlain, &tried), 0);
  EXPECT_GE(tried, 50);
}

// The check can fail: where receives get the memory of sends, some do not end.
TEST_F(ArenaOrder, WithoutTheRuleSomeNeverEnd) {
  int tried = 0;
  EXPECT_GT(stuck_plans(false, Plans::kPlain, &tried), 0);
}

// Several chunks a stage: memory of a send is reused only where the send is over anyway.
TEST_F(ArenaOrder, ChunkedPlansEndWithSendsThatWait) {
  int tried = 0;
  EXPECT_EQ(stuck_plans(true, Plans::kChunked, &tried), 0);
  EXPECT_GE(tried, 50);
}

TEST_F(ArenaOrder, ChunkedPlansThatReuseAllSentNeverEnd) {
  int tried = 0;
  EXPECT_GT(stuck_plans(true, Plans::kChunkedReusingAllSent, &tried), 0);
}

}  // namespace
}  // namespace shardwright
