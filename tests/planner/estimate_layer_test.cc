// What one layer costs in closed form, part by part.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "costmodel/pricer.h"
#include "planner/estimate.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

ClusterSpec h100(const char* count) {
  return std::move(load_cluster(std::string("h100-sxm-80gb:") + count,
                                SHARDWRIGHT_SOURCE_DIR "/profiles"))
      .value();
}

// Three stages, of which the middle one has neither the embedding nor the head.
Plan three_stages(const ModelSpec& model, int64_t tp, DataType type) {
  Plan plan;
  plan.pp = 3;
  plan.tp = tp;
  plan.split.sequence_parallel = tp > 1;
  plan.seq = 2048;
  plan.global_batch = 8;
  plan.precision = type;
  plan.gradient_type = DataType::kFp32;
  const int64_t third = model.layers() / 3;
  plan.stage_layers = {third, third, model.layers() - 2 * third};
  return plan;
}

// Of every collective what its own product does not cover, and the drag of what it does. The pairs
// are those of Megatron's column- and row-parallel products (arXiv 2205.05198, figure 5): a gather
// before the former, a reduction after the latter, and the other way round backward.
TEST(EstimateLayer, TensorCollectivesHideBehindTheirOwnProducts) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const int64_t tp = 8, rows = 2048, hidden = 4096;
  const int64_t qkv = 6144 / tp, context = 4096 / tp, up = 2 * 14336 / tp, ffn = 14336 / tp;
  // Fast links hide all of it, slow ones little: the links are what differs.
  for (const double rate : {4e12, 100e9, 20e9}) {
    ClusterSpec cluster = h100("8x3");
    cluster.levels[0].bytes_per_s = rate;
    cluster.levels[0].curves.clear();
    const Pricer pricer(cluster, 0, 8);
    const auto product = [&](GemmLayout layout, int64_t m, int64_t n, int64_t k) {
      return pricer.gemm_s({layout, m, n, k, 1, DataType::kBf16});
    };
    const auto left = [&](CollectiveKind kind, double beside, double drag) {
      const double seconds = collective_s(
          cluster, {.kind = kind, .axis = Axis::kTp, .bytes = rows * hidden * 2}, {0, 1, tp});
      const double bare = std::max(0.0, seconds - beside);
      return bare + drag * (seconds - bare);
    };
    const auto layer = [&](double drag) {
      const auto gather = [&](double beside) {
        return left(CollectiveKind::kAllGather, beside, drag);
      };
      const auto scatter = [&](double beside) {
        return left(CollectiveKind::kReduceScatter, beside, drag);
      };
      return gather(product(GemmLayout::kForward, rows, qkv, hidden)) +
             scatter(product(GemmLayout::kForward, rows, hidden, context)) +
             gather(product(GemmLayout::kForward, rows, up, hidden)) +
             scatter(product(GemmLayout::kForward, rows, hidden, ffn)) +
             gather(product(GemmLayout::kInputGrad, rows, ffn, hidden)) +
             scatter(product(GemmLayout::kWeightGrad, up, hidden, rows)) +
             gather(product(GemmLayout::kInputGrad, rows, context, hidden)) +
             scatter(product(GemmLayout::kWeightGrad, qkv, hidden, rows));
    };
    Plan plan = three_stages(model, tp, DataType::kBf16);
    plan.overlap.tensor = true;
    for (const double drag : {0.0, 0.25}) {
      Factors factors = neutral_factors();
      factors.at(Factor::kDrag) = drag;
      Estimator estimator(model, cluster, Kernels(), factors);
      const double spent = estimator.prices(plan).chunks[1].spent.tensor;
      const double expected = static_cast<double>(plan.stage_layers[1]) * layer(drag);
      EXPECT_NEAR(spent, expected, 1e-9 * expected + 1e-15) << rate << " " << drag;
    }
  }
}

// The host casts the rows of every expert by themselves: beside the bf16 launches an fp8 layer of
// Qwen3-30B-A3B has two casts (qkv, output; the router is not quantised) and two for each of the 16
// experts of a rank.
TEST(EstimateLayer, CastsOfExpertsAreLaunchedOneByOne) {
  const ModelSpec model = shipped_model("qwen3-30b-a3b");
  const ClusterSpec cluster = h100("8x3");
  Factors factors = neutral_factors();
  factors.at(Factor::kHostStep) = 1;  // the host decides alone
  const auto forward = [&](DataType type) {
    Plan plan = three_stages(model, 1, type);
    plan.dp = 8;
    plan.global_batch = 64;
    plan.split.ep = 8;
    Estimator estimator(model, cluster, Kernels(), factors);
    return estimator.prices(plan).chunks[1].forward;
  };
  EXPECT_DOUBLE_EQ(forward(DataType::kFp8) - forward(DataType::kBf16), 16.0 * (2 + 2 * 16));
}

}  // namespace
}  // namespace shardwright
