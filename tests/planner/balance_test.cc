// Balanced stages against every possible split.
#include "planner/balance.h"

#include <algorithm>
#include <functional>

#include "planner/simulate.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

Nanoseconds stage_time(const std::vector<LayerTimes>& stages, size_t stage, int64_t from,
                       int64_t to) {
  Nanoseconds time = 0;
  for (int64_t i = from; i < to; ++i) time += stages[stage].layers[static_cast<size_t>(i)];
  if (stage == 0) time += stages[stage].embedding;
  if (stage + 1 == stages.size()) time += stages[stage].head;
  return time;
}

struct Score {
  Nanoseconds slowest = 0;
  double squares = 0;
};
Score score(const std::vector<LayerTimes>& stages, const std::vector<int64_t>& split) {
  Score out;
  int64_t from = 0;
  for (size_t stage = 0; stage < split.size(); ++stage) {
    const Nanoseconds time = stage_time(stages, stage, from, from + split[stage]);
    out.slowest = std::max(out.slowest, time);
    out.squares += static_cast<double>(time) * static_cast<double>(time);
    from += split[stage];
  }
  return out;
}

void for_each_split(int64_t layers, int64_t stages, std::vector<int64_t>* split,
                    const std::function<void()>& visit) {
  if (stages == 1) {
    split->push_back(layers);
    visit();
    split->pop_back();
    return;
  }
  for (int64_t first = 1; first <= layers - stages + 1; ++first) {
    split->push_back(first);
    for_each_split(layers - first, stages - 1, split, visit);
    split->pop_back();
  }
}

TEST(Balance, EqualsBruteForceOnRandomTimes) {
  std::mt19937 random(8);
  for (int i = 0; i < 300; ++i) {
    const size_t pp = 1 + random() % 5, layers = pp + random() % 8;
    const bool same_devices = random() % 2 == 0;
    std::vector<LayerTimes> stages(pp);
    for (LayerTimes& stage : stages) {
      stage.embedding = static_cast<Nanoseconds>(random() % 500);
      stage.head = static_cast<Nanoseconds>(random() % 500);
      for (size_t l = 0; l < layers; ++l) {
        stage.layers.push_back(static_cast<Nanoseconds>(1 + random() % 1000));
      }
      if (same_devices) stage = stages.front();
    }
    const std::vector<int64_t> found = balance(stages);
    Score best{std::numeric_limits<Nanoseconds>::max(), 0};
    std::vector<int64_t> split, first;
    for_each_split(static_cast<int64_t>(layers), static_cast<int64_t>(pp), &split, [&] {
      const Score now = score(stages, split);
      if (now.slowest > best.slowest) return;
      if (now.slowest == best.slowest && now.squares >= best.squares) return;
      best = now;
      first = split;
    });
    // Splits are visited in ascending order of the first stages, so `first` breaks ties as stated.
    EXPECT_EQ(found, first);
  }
}

TEST(Balance, EqualStagesWhereTheyAreEqual) {
  const LayerTimes times{0, 0, std::vector<Nanoseconds>(12, 100)};
  EXPECT_EQ(balance({times, times, times}), (std::vector<int64_t>{4, 4, 4}));
  EXPECT_EQ(balance({times}), std::vector<int64_t>{12});
}

TEST(Balance, AnUnevenRestGoesToLateStages) {
  const LayerTimes times{0, 0, std::vector<Nanoseconds>(10, 100)};
  EXPECT_EQ(balance({times, times, times, times}), (std::vector<int64_t>{2, 2, 3, 3}));
}

TEST(Balance, AHeadOfTwoLayersTakesTheirPlace) {
  const LayerTimes times{0, 200, std::vector<Nanoseconds>(10, 100)};
  EXPECT_EQ(balance({times, times, times}), (std::vector<int64_t>{4, 4, 2}));
}

TEST(Balance, TheSlowDeviceGetsFewerLayers) {
  const LayerTimes fast{0, 0, std::vector<Nanoseconds>(9, 100)};
  const LayerTimes slow{0, 0, std::vector<Nanoseconds>(9, 200)};
  EXPECT_EQ(balance({slow, fast}), (std::vector<int64_t>{3, 6}));
}

TEST(Balance, ThousandsOfLayersOverflowNothing) {
  const LayerTimes times{0, 0, std::vector<Nanoseconds>(512, int64_t{1} << 40)};
  const std::vector<LayerTimes> stages(64, times);
  EXPECT_EQ(balance(stages), std::vector<int64_t>(64, 8));
}

// What balance weighs is what simulate charges: forward and backward of a stage, to the nanosecond.
TEST(Balance, TimesAreThoseOfTheProgram) {
  std::mt19937 random(9);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 20; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = random_plan(model, &random);
    const ClusterSpec cluster = test_cluster(8, 1, i % 3 == 0);
    const Program program = compile(model, plan, {true, false});
    const StepTable table(model, program, plan.optimizer);
    const ProgramCosts costs = price(program, table, cluster);
    const std::vector<LayerTimes> stages(static_cast<size_t>(plan.pp),
                                         layer_times(model, cluster, plan, 0));
    for (size_t at = 0; at < program.ranks.size(); ++at) {
      const size_t stage = static_cast<size_t>(program.ranks[at].stage);
      const ChunkShape shape = chunk_shape(plan, program.ranks[at].stage);
      Nanoseconds once = 0;
      for (size_t k = 0; k < program.ranks[at].instructions.size(); ++k) {
        const Instruction& next = program.ranks[at].instructions[k];
        const bool compute = next.op == OpCode::kForward || next.op == OpCode::kBackward;
        if (compute && next.microbatch == 0) once += costs.instruction[at][k];
      }
      EXPECT_EQ(once,
                stage_time(stages, stage, shape.first_layer, shape.first_layer + shape.num_layers))
          << plan.label();
    }
  }
}

}  // namespace
}  // namespace shardwright
