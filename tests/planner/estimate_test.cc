#include "planner/estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <tuple>

#include "planner/evaluate.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

double simulated_s(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan) {
  return to_seconds(evaluate_plan(model, cluster, plan).step_ns);
}

double estimated_s(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan) {
  return Estimator(model, cluster, Kernels(), neutral_factors()).estimate(plan).step_s;
}

// compile() reduces gradients after the last backward.
Plan without_overlap(Plan plan) {
  plan.overlap.gradients = false;
  return plan;
}

// Without a pipeline both add up the same prices; what is left is whole nanoseconds and the floors
// of tensors of a few hundred bytes.
TEST(Estimate, OneStageEqualsSimulation) {
  std::mt19937 random(1);
  for (const char* name : {"tiny-gpt", "tiny-llama"}) {
    const ModelSpec model = shipped_model(name);
    for (int i = 0; i < 100; ++i) {
      Plan plan = without_overlap(random_plan(model, &random));
      if (plan.pp > 1) continue;
      const ClusterSpec cluster = test_cluster(8, 1, true);
      const double expected = simulated_s(model, cluster, plan);
      EXPECT_NEAR(estimated_s(model, cluster, plan) / expected, 1, 0.005) << plan.label();
    }
  }
}

// The closed form lets every other stage wait for the slowest. With four layers on three stages one
// has twice the work of its neighbours, which then fill and drain beside it: such plans are up to a
// fifth too slow, while the average over all is close.
TEST(Estimate, PipelinesAreCloseToSimulation) {
  std::mt19937 random(2);
  double sum = 0, bias = 0;
  int count = 0;
  for (const char* name : {"tiny-gpt", "tiny-llama"}) {
    const ModelSpec model = shipped_model(name);
    for (int i = 0; i < 300; ++i) {
      const Plan plan = without_overlap(random_plan(model, &random));
      if (plan.pp == 1) continue;
      const ClusterSpec cluster = test_cluster(4, 2, true);
      const double error =
          estimated_s(model, cluster, plan) / simulated_s(model, cluster, plan) - 1;
      sum += std::abs(error);
      bias += error;
      ++count;
      EXPECT_LT(std::abs(error), 0.20) << plan.label() << " " << error;
    }
  }
  ASSERT_GT(count, 100);
  EXPECT_LT(sum / count, 0.02);
  EXPECT_LT(std::abs(bias / count), 0.015);
}

// A chunk without layers has no weight gradients to make.
TEST(Estimate, SplitBackwardOfAnEmptyChunkTakesNoTime) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const ClusterSpec cluster = test_cluster(2, 1, true);
  Plan plan;
  plan.pp = plan.virtual_stages = 2;
  plan.schedule = ScheduleKind::kZbV;
  plan.seq = 64;
  plan.global_batch = 8;
  plan.stage_layers = {1, 0, 1, model.layers() - 2};
  Estimator estimator(model, cluster, Kernels(), neutral_factors());
  const ChunkPrices& empty = estimator.prices(plan).chunks[1];
  EXPECT_EQ(empty.backward_weight, 0);
  EXPECT_EQ(empty.backward_input, 0);
}

// Saved activations that travel beside compute, 25 GB/s each way: nothing while they are faster
// than the passes, else their own time.
TEST(Estimate, OffloadedActivationsTravelBesideThePasses) {
  const ModelSpec model = shipped_model("tiny-llama");
  ClusterSpec cluster = test_cluster(1, 1, true);
  Plan plan = test_plan(model, 1, 1, 1, 1);
  Estimator usual(model, cluster, Kernels(), neutral_factors());
  const ChunkPrices without = usual.prices(plan).chunks[0];
  double bytes = 0;  // of four layers, with the input of each
  for (int64_t layer = 0; layer < model.layers(); ++layer) {
    ChunkShape one = chunk_shape(plan, 0);
    one.first_layer = layer;
    one.num_layers = 1;
    one.head = false;
    bytes += static_cast<double>(activation_bytes(model, one, false).saved);
  }
  plan.activation_offload = 0.5;
  const ChunkPrices with = usual.prices(plan).chunks[0];
  EXPECT_DOUBLE_EQ(with.forward, std::max(without.forward, bytes / 2 / 25e9));
  EXPECT_DOUBLE_EQ(with.backward, std::max(without.backward, bytes / 2 / 25e9));
  // On a device that is far faster than its link to the host.
  bytes *= plan.micro_batch = plan.global_batch = 1 << 16;
  cluster.devices["test"].memory_bytes_per_s = 1e30;
  cluster.devices["test"].peak_flops_per_s[DataType::kFp32] = 1e30;
  Estimator fast(model, cluster, Kernels(), neutral_factors());
  plan.activation_offload = 1;
  EXPECT_DOUBLE_EQ(fast.prices(plan).chunks[0].forward, bytes / 25e9);
  EXPECT_DOUBLE_EQ(fast.prices(plan).chunks[0].backward, bytes / 25e9);
  // What is recomputed leaves less to move: the inputs of the layers, [T, h] each.
  plan.recompute = Recompute::kFull;
  const double inputs = 4.0 * 16 * 128 * 4 * (1 << 16);
  EXPECT_DOUBLE_EQ(fast.prices(plan).chunks[0].forward, inputs / 25e9);
}

Plan long_sequences() {
  Plan plan;
  plan.dp = 8;
  plan.micro_batch = 1;
  plan.global_batch = 8;
  plan.seq = 16384;
  plan.precision = DataType::kBf16;
  plan.stage_layers = {32};
  return plan;
}

// A device that came after FlashAttention 2 (it has fp8 units) takes longer with it: by the whole
// of attention's time when the factor doubles it, by nothing where that kernel is its own.
TEST(Estimate, AnOutgrownAttentionKernelCostsMoreOnNewerDevices) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  for (const auto& [name, newer] :
       {std::pair{"h100-sxm-80gb:8", true}, {"a100-sxm-80gb:8", false}}) {
    const ClusterSpec cluster =
        std::move(load_cluster(name, SHARDWRIGHT_SOURCE_DIR "/profiles")).value();
    Kernels old;
    old.flash_2 = true;
    const auto seconds = [&](const Kernels& kernels, Factor factor, double value) {
      Factors factors = neutral_factors();
      factors.at(factor) = value;
      return Estimator(model, cluster, kernels, factors).estimate(long_sequences()).step_s;
    };
    const double own = seconds(Kernels(), Factor::kFlash2, 2);
    EXPECT_EQ(own, seconds(Kernels(), Factor::kFlash2, 1)) << name;
    const double twice = newer ? seconds(Kernels(), Factor::kAttention, 2) : own;
    EXPECT_DOUBLE_EQ(seconds(old, Factor::kFlash2, 2), twice) << name;
  }
}

// Seconds of `work` on the data lane after the last backward of a stage with v chunks, told as it
// happens: a chunk's v-th of it flows from the start of the chunk's last backward, the chunks end
// one after the other from the last to the first, `round` microbatches apart.
double left_after(double work, double backward, int v, int round) {
  double lane = 0, start = 0;
  for (int chunk = v - 1; chunk >= 0; --chunk) {
    lane = std::max(lane, start) + work / v;
    if (chunk > 0) start += round * backward / v;
  }
  return std::max(0.0, lane - (start + backward / v));
}

// Breadth-first all eight microbatches of a chunk come before those of the next, else rounds of
// two.
TEST(Estimate, LaterChunksHideReductions) {
  const ModelSpec model = shipped_model("tiny-gpt");
  for (const double network : {3e7, 3e8, 1e9, 1e10}) {
    for (const auto& [chunks, schedule, round] : {std::tuple{1, ScheduleKind::kOneFOneB, 1},
                                                  {2, ScheduleKind::kOneFOneB, 2},
                                                  {2, ScheduleKind::kBreadthFirst, 8}}) {
      ClusterSpec cluster = test_cluster(2, 4, true);
      cluster.levels.back().bytes_per_s = network;
      Plan plan = test_plan(model, 4, 1, 2, 8, schedule);
      plan.virtual_stages = chunks;
      plan.zero = 1;
      plan.stage_layers.assign(2 * chunks, 2 / chunks);
      plan.micro_batch = 4;
      plan.global_batch *= 4;
      Estimator estimator(model, cluster, Kernels(), neutral_factors());
      plan.overlap.gradients = plan.overlap.parameters = false;
      const PlanPrices prices = estimator.prices(plan);
      double forward = 0, backward = 0;  // of the second stage
      for (int i = 0; i < chunks; ++i) {
        forward += prices.chunks[2 * i + 1].forward;
        backward += prices.chunks[2 * i + 1].backward;
      }
      plan.overlap.gradients = plan.overlap.parameters = true;
      const StagePrices hidden = estimator.prices(plan).stages[1];
      // Sums of the same seconds in another order: 1e-12 s is rounding, a pass takes 1e-4.
      EXPECT_NEAR(hidden.reduction, left_after(prices.stages[1].reduction, backward, chunks, round),
                  1e-12)
          << network << " " << chunks;
      // Gathers mirror that: the first chunk's is needed first.
      EXPECT_NEAR(hidden.gather, left_after(prices.stages[1].gather, forward, chunks, round), 1e-12)
          << network << " " << chunks;
    }
  }
}

// What ZeRO-3 gathers: every layer by itself (4096^2 x 2 + 4096 x 1024 x 2 + 3 x 4096 x 14336
// weights and two norms), the embedding, the head with its norm; shared out by tensors each of
// these in so many pieces.
TEST(Estimate, ShardedWeightsAreGatheredLayerByLayer) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster = test_cluster(4, 2, true);
  Plan plan = long_sequences();
  plan.precision = DataType::kFp32;
  plan.zero = 3;
  plan.seq = 16;
  plan.overlap.parameters = false;
  for (const double pieces : {1.0, 8.0}) {
    Kernels kernels;
    kernels.sharded_pieces = pieces;
    Estimator estimator(model, cluster, kernels, neutral_factors());
    const auto seconds = [&](CollectiveKind kind, double weights) {
      const auto bytes = static_cast<Bytes>(4 * weights / pieces);
      return pieces *
             collective_s(cluster, {.kind = kind, .axis = Axis::kDp, .bytes = bytes}, {0, 1, 8});
    };
    const auto whole = [&](CollectiveKind kind) {
      const double layer = 2.0 * 4096 * 4096 + 2.0 * 4096 * 1024 + 3.0 * 4096 * 14336 + 2 * 4096;
      const double table = 128256.0 * 4096;
      return 32 * seconds(kind, layer) + seconds(kind, table) + seconds(kind, table + 4096);
    };
    // Weights once forward and once backward, and the gradients.
    const double expected =
        2 * whole(CollectiveKind::kAllGather) + whole(CollectiveKind::kReduceScatter);
    // Bytes of a piece are whole: rounding of 1e-9.
    EXPECT_NEAR(estimator.prices(plan).chunks[0].spent.sharding / expected, 1, 1e-9) << pieces;
  }
}

// What an estimator keeps of one plan for the next changes no price, to the last bit: layers,
// products and chunks of a model with two kinds of layers, under plans that differ in what decides
// these.
TEST(Estimate, DoesNotDependOnThePlanBefore) {
  const ModelSpec model = shipped_model("deepseek-v3");
  const ClusterSpec cluster =
      std::move(load_cluster("h100-sxm-80gb:8x16", SHARDWRIGHT_SOURCE_DIR "/profiles")).value();
  std::mt19937 random(11);
  const auto one_of = [&](std::initializer_list<int64_t> values) {
    return values.begin()[random() % values.size()];
  };
  Estimator kept(model, cluster, Kernels(), neutral_factors());
  for (int i = 0; i < 200; ++i) {
    Plan plan;
    plan.pp = one_of({1, 4, 8});
    plan.tp = one_of({1, 2});
    plan.split.sequence_parallel = plan.tp > 1;
    plan.split.etp = 1;
    plan.dp = 128 / plan.pp / plan.tp;
    plan.virtual_stages = plan.pp > 1 ? one_of({1, 2}) : 1;
    plan.micro_batch = one_of({1, 2});
    plan.global_batch = plan.dp * plan.micro_batch * 16;
    plan.seq = 4096;
    plan.precision = one_of({0, 1}) == 0 ? DataType::kBf16 : DataType::kFp8;
    plan.gradient_type = one_of({0, 1}) == 0 ? DataType::kFp32 : DataType::kBf16;
    plan.split.ep = one_of({8, 16});
    plan.overlap.tensor = one_of({0, 1}) == 0;
    plan.zero = one_of({0, 1, 3});
    const int64_t chunks = plan.pp * plan.virtual_stages;
    for (int64_t c = 0; c < chunks; ++c) {
      plan.stage_layers.push_back((model.layers() + chunks - 1 - c) / chunks);
    }
    switch (one_of({0, 1, 2})) {
      case 1:
        plan.recompute = Recompute::kFull;
        plan.recompute_layers = one_of({0, 1, 2});
        break;
      case 2:
        plan.activation_offload = 0.5;
        break;
    }
    const double fresh =
        Estimator(model, cluster, Kernels(), neutral_factors()).estimate(plan).step_s;
    ASSERT_EQ(kept.estimate(plan).step_s, fresh) << i << " " << plan.label();
  }
}

// Broadcasts of a sharded optimizer grow with its shards; ZeRO-3 has none, nor has software that
// gathers by collectives.
TEST(Estimate, OnlyShardsThatAreSentOneByOneCostPerMember) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster =
      std::move(load_cluster("h100-sxm-80gb:8", SHARDWRIGHT_SOURCE_DIR "/profiles")).value();
  for (const auto& [zero, members] : {std::pair{0, 0}, {1, 8}, {2, 8}, {3, 0}}) {
    Plan plan = long_sequences();
    plan.zero = zero;
    Factors factors = neutral_factors();
    const double without = Estimator(model, cluster, Kernels(), factors).estimate(plan).step_s;
    factors.at(Factor::kMember) = 0.5;
    Kernels broadcasts;
    broadcasts.broadcast_shards = true;
    const double with = Estimator(model, cluster, broadcasts, factors).estimate(plan).step_s;
    EXPECT_NEAR(with - without, 0.5 * members, 1e-9) << zero;
    EXPECT_EQ(Estimator(model, cluster, Kernels(), factors).estimate(plan).step_s, without);
  }
}

}  // namespace
}  // namespace shardwright
