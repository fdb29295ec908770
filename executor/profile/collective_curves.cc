#include "executor/profile/collective_curves.h"

#include <algorithm>
#include <string>

#include "costmodel/units.h"
#include "executor/profile/collective_bench.h"
#include "executor/profile/model_fit.h"

namespace shardwright {
namespace {

constexpr double kFirstSweepShare = 0.6;
constexpr int kTimeDigits = 4;

struct CurvePlan {
  CollectiveKind kind;
  int64_t ranks;
};

std::vector<CurvePlan> plan_curves(int64_t cores) {
  std::vector<CurvePlan> out = {{CollectiveKind::kSend, 2}, {CollectiveKind::kReceive, 2}};
  for (int64_t ranks : group_sizes(cores)) {
    for (CollectiveKind kind : {CollectiveKind::kAllReduce, CollectiveKind::kAllGather,
                                CollectiveKind::kReduceScatter, CollectiveKind::kBroadcast}) {
      out.push_back({kind, ranks});
    }
  }
  return out;
}

class CurveSweep {
 public:
  CurveSweep(Communicator& comm, CollectiveBench& bench, const std::vector<Bytes>& sizes,
             const Progress& progress)
      : bench_(bench),
        sizes_(sizes),
        progress_(progress),
        lockstep_(bench.world(), {}),
        plans_(plan_curves(comm.size())) {}

  // Curves in the order of the plans, each with at least its smallest size.
  std::vector<CollectiveCurve> run(int64_t start_ns, double seconds) {
    std::vector<CollectiveCurve> out;
    for (const CurvePlan& plan : plans_) {
      const double share = static_cast<double>(out.size() + 1) / static_cast<double>(plans_.size());
      const int64_t deadline_ns = start_ns + to_nanoseconds(seconds * share);
      out.push_back({plan.kind, plan.ranks, measure(plan, deadline_ns)});
    }
    return out;
  }

 private:
  std::vector<CurvePoint> measure(const CurvePlan& plan, int64_t deadline_ns) {
    Section section(lockstep_,
                    name_of(plan.kind) + std::string(" of ") + std::to_string(plan.ranks),
                    sizes_.size(), deadline_ns, progress_);
    std::vector<CurvePoint> points;
    double expected_s = 0;
    for (Bytes bytes : sizes_) {
      if (!section.affords(expected_s) && !points.empty()) break;
      const double seconds = bench_.measure(plan.kind, plan.ranks, bytes);
      points.push_back({static_cast<double>(bytes), rounded(seconds, kTimeDigits)});
      expected_s = CollectiveBench::expected_s(seconds);
    }
    return points;
  }

  CollectiveBench& bench_;
  const std::vector<Bytes>& sizes_;
  const Progress& progress_;
  RankBench lockstep_;
  std::vector<CurvePlan> plans_;
};

// Ranks that share a core for a moment take a hundred times as long to meet; rarely twice.
void keep_faster(const std::vector<CollectiveCurve>& again, std::vector<CollectiveCurve>* out) {
  for (size_t i = 0; i < out->size(); ++i) {
    std::vector<CurvePoint>& points = (*out)[i].points;
    for (size_t j = 0; j < again[i].points.size(); ++j) {
      if (j == points.size()) points.push_back(again[i].points[j]);
      points[j].seconds = std::min(points[j].seconds, again[i].points[j].seconds);
    }
  }
}

}  // namespace

std::vector<Bytes> collective_sizes(bool quick, Bytes most_bytes) {
  std::vector<Bytes> out;
  for (Bytes size : {16, 256, 4 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}) {
    const bool chosen = !quick || size == 16 || size == 64 << 10 || size == 4 << 20;
    if (chosen && size <= most_bytes) out.push_back(size);
  }
  return out;
}

std::vector<int64_t> group_sizes(int64_t cores) {
  std::vector<int64_t> out;
  for (int64_t size = 2; size <= cores; ++size) {
    const bool power = (size & (size - 1)) == 0;
    if (size <= 8 || power || size == cores) out.push_back(size);
  }
  return out;
}

std::vector<CollectiveCurve> measure_collectives(Communicator& comm, Ops& ops,
                                                 const CollectiveOptions& options,
                                                 const Progress& progress) {
  CollectiveBench bench(comm, ops, options.sizes.back());
  CurveSweep sweep(comm, bench, options.sizes, progress);
  const int64_t start_ns = monotonic_ns();
  const double first_s = options.sweeps > 1 ? options.seconds * kFirstSweepShare : options.seconds;
  std::vector<CollectiveCurve> out = sweep.run(start_ns, first_s);
  if (options.sweeps > 1) {
    const int64_t again_ns = monotonic_ns();
    const double left_s = options.seconds - to_seconds(again_ns - start_ns);
    keep_faster(sweep.run(again_ns, left_s), &out);
  }
  for (CollectiveCurve& curve : out) curve.points = lower_envelope(std::move(curve.points));
  return out;
}

}  // namespace shardwright
