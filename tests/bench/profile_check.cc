// How well does a profile price what it has not measured? Random products, attention and passes off
// the grid, at 1 active rank and at all cores: predicted beside measured, median and 90th
// percentile of the absolute error by kind.
//
//   bench_profile_check [profile.json] [shapes]    without a file, profiles this machine first
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "costmodel/pricer.h"
#include "executor/comm/thread_comm.h"
#include "executor/comm/wait.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/profile/grids.h"
#include "executor/profile/machine_profile.h"
#include "executor/profile/work_runner.h"

namespace shardwright {
namespace {

constexpr int64_t kColdElements = int64_t{16} << 20;
constexpr std::chrono::seconds kDeadline{60};
constexpr int kSweeps = 3;  // the fastest counts: other programs disturb one now and then

class Shapes {
 public:
  // Log-uniform between low and high, a multiple of `unit`.
  int64_t size(int64_t low, int64_t high, int64_t unit) {
    const double span = std::log2(static_cast<double>(high) / static_cast<double>(low));
    const double value = static_cast<double>(low) * std::exp2(uniform() * span);
    return std::max(unit, static_cast<int64_t>(value) / unit * unit);
  }

  // A linear layer of a random small model, perhaps split over two ranks.
  Work gemm(GemmLayout layout) {
    const int64_t hidden = size(128, 1024, 64), tp = size(1, 3, 1), tokens = size(128, 2048, 64);
    const int64_t split[][2] = {{3 * hidden / tp, hidden},
                                {hidden, hidden / tp},
                                {4 * hidden / tp, hidden},
                                {hidden, 4 * hidden / tp},
                                {4096 / tp, hidden}};
    const auto& [out, in] = split[static_cast<size_t>(uniform() * 5)];
    if (layout == GemmLayout::kForward) return GemmWork{layout, tokens, out, in};
    if (layout == GemmLayout::kInputGrad) return GemmWork{layout, tokens, in, out};
    return GemmWork{layout, out, in, tokens};
  }
  Work attention(bool backward) {
    AttentionWork work;
    work.backward = backward;
    work.seq = size(80, 1000, 16);
    work.heads = work.kv_heads = size(2, 12, 1);
    work.batch = size(1, 6, 1);
    work.head_dim = work.v_head_dim = 32 * size(1, 5, 1);
    return work;
  }
  Work pass() {
    const auto kinds = static_cast<double>(PassKind::kCount);
    const auto kind = static_cast<PassKind>(uniform() * kinds);
    PassWork work = pass_of(kind, size(8192, 3 << 20, 1), {});
    if (work.rows == 1) return work;
    // The same number of elements in rows of another width.
    const int64_t cols = size(work.cols / 3, 2 * work.cols, 64);
    work.rows = size(1, 2, 1) * 256 * std::max<int64_t>(1, work.elements() / cols / 256);
    work.cols = cols;
    return work;
  }

 private:
  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  std::mt19937_64 random_{20240611};
};

std::vector<Work> random_works(int of_each) {
  Shapes shapes;
  std::vector<Work> out;
  for (int i = 0; i < of_each; ++i) {
    for (GemmLayout layout :
         {GemmLayout::kForward, GemmLayout::kInputGrad, GemmLayout::kWeightGrad}) {
      out.push_back(shapes.gemm(layout));
    }
    out.push_back(shapes.attention(false));
    out.push_back(shapes.attention(true));
    out.push_back(shapes.pass());
    out.push_back(shapes.pass());
  }
  return out;
}

std::string kind_of(const Work& work) {
  if (const auto* gemm = std::get_if<GemmWork>(&work)) {
    return std::string("gemm ") + name_of(gemm->layout);
  }
  if (const auto* attention = std::get_if<AttentionWork>(&work)) {
    return attention->backward ? "attention backward" : "attention forward";
  }
  return "pass";
}

std::vector<double> measure(const std::vector<Work>& works, int ranks) {
  std::vector<double> out(works.size());
  run_ranks(ranks, kDeadline, [&](Communicator& comm) {
    std::vector<int> all(static_cast<size_t>(ranks));
    std::iota(all.begin(), all.end(), 0);
    const auto ops = make_cpu_ops(comm.rank());
    WorkRunner runner(*ops, kColdElements * static_cast<Bytes>(sizeof(float)));
    RankBench bench(comm.group(all), {});
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (size_t i = 0; i < works.size(); ++i) {
        const double seconds = bench.measure([&] { runner.run(works[i]); });
        if (comm.rank() == 0) out[i] = sweep == 0 ? seconds : std::min(out[i], seconds);
      }
    }
  });
  return out;
}

struct Errors {
  std::vector<double> signed_pct;
  double quantile(double q) const {
    std::vector<double> sizes;
    for (double error : signed_pct) sizes.push_back(std::abs(error));
    std::sort(sizes.begin(), sizes.end());
    return sizes[static_cast<size_t>(q * static_cast<double>(sizes.size() - 1) + 0.5)];
  }
  double bias() const { return median(signed_pct); }
};

void check(const ClusterSpec& cluster, const std::vector<Work>& works, int ranks) {
  const Pricer pricer(cluster, 0, ranks);
  const std::vector<double> measured = measure(works, ranks);
  std::map<std::string, Errors> by_kind;
  for (size_t i = 0; i < works.size(); ++i) {
    const double predicted = pricer.compute_s(works[i]);
    const double error = (predicted / measured[i] - 1) * 100;
    by_kind[kind_of(works[i])].signed_pct.push_back(error);
    std::printf("  %-52s %10.1f us %10.1f us %+7.1f %%\n", describe(works[i]).c_str(),
                predicted * 1e6, measured[i] * 1e6, error);
  }
  std::printf("%d active: kind, shapes, median and p90 of |error|, median error (%%)\n", ranks);
  for (const auto& [kind, errors] : by_kind) {
    std::printf("  %-20s %4zu %6.1f %6.1f %+6.1f\n", kind.c_str(), errors.signed_pct.size(),
                errors.quantile(0.5), errors.quantile(0.9), errors.bias());
  }
}

int run(int argc, char** argv) {
  ProfileOptions options;
  const int64_t begin_ns = monotonic_ns();
  const Result<ClusterSpec> cluster = argc > 1 && argv[1][0] != '-'
                                          ? load_cluster(argv[1], default_profiles_dir())
                                          : profile_machine(options);
  if (!cluster) {
    std::fprintf(stderr, "%s\n", cluster.error().line().c_str());
    return 2;
  }
  std::printf("profile: %.1f s\n", to_seconds(monotonic_ns() - begin_ns));
  const std::vector<Work> works = random_works(argc > 2 ? std::atoi(argv[2]) : 8);
  check(*cluster, works, 1);
  if (usable_cores() > 1) check(*cluster, works, usable_cores());
  return 0;
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) { return shardwright::run(argc, argv); }
