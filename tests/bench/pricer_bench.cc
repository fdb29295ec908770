// How long one price takes: plans have thousands, and pricing a whole plan has 10 us.
#include <benchmark/benchmark.h>

#include "costmodel/pricer.h"

namespace shardwright {
namespace {

// Shapes in turn, so that no look-up finds the last one's cells by chance.
constexpr int64_t kWidths[] = {1024, 2560, 4096, 5120, 7168, 8192, 11008, 14336};

ClusterSpec cluster_of(const char* device) {
  return *load_cluster(std::string(device) + ":8x2", default_profiles_dir());
}

void gemm(benchmark::State& state, const char* device, DataType type) {
  const ClusterSpec cluster = cluster_of(device);
  const Pricer pricer(cluster, 0, 8);
  size_t i = 0;
  for (auto _ : state) {
    const GemmWork work{GemmLayout::kForward, 4096, kWidths[i % 8], kWidths[(i + 3) % 8], 1, type};
    benchmark::DoNotOptimize(pricer.gemm_s(work));
    ++i;
  }
}
BENCHMARK_CAPTURE(gemm, h100_bf16, "h100-sxm-80gb", DataType::kBf16);
BENCHMARK_CAPTURE(gemm, h100_fp8, "h100-sxm-80gb", DataType::kFp8);
BENCHMARK_CAPTURE(gemm, a100_tiles, "a100-sxm-80gb", DataType::kBf16);

void attention(benchmark::State& state) {
  const ClusterSpec cluster = cluster_of("h100-sxm-80gb");
  const Pricer pricer(cluster, 0, 8);
  size_t i = 0;
  for (auto _ : state) {
    AttentionWork work{false, 1, kWidths[i % 8], 32, 8, 128, 128, 0, DataType::kBf16};
    benchmark::DoNotOptimize(pricer.attention_s(work));
    ++i;
  }
}
BENCHMARK(attention);

void all_reduce(benchmark::State& state) {
  const ClusterSpec cluster = cluster_of("h100-sxm-80gb");
  const int64_t ranks = state.range(0);
  size_t i = 0;
  for (auto _ : state) {
    const CollectiveWork work{CollectiveKind::kAllReduce, Axis::kTp, kWidths[i % 8] << 12};
    benchmark::DoNotOptimize(collective_s(cluster, work, {0, 1, ranks}));
    ++i;
  }
}
BENCHMARK(all_reduce)->Arg(8)->Arg(16);

void make_pricer(benchmark::State& state) {
  const ClusterSpec cluster = cluster_of("h100-sxm-80gb");
  for (auto _ : state) benchmark::DoNotOptimize(Pricer(cluster, 0, 8));
}
BENCHMARK(make_pricer);

}  // namespace
}  // namespace shardwright
