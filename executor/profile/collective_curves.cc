#include "executor/profile/collective_curves.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "costmodel/check.h"
#include "costmodel/units.h"
#include "executor/profile/model_fit.h"

namespace shardwright {
namespace {

constexpr int kFewestCalls = 5, kMostCalls = 60;
constexpr double kPointSeconds = 0.03;  // what calls beyond the fewest may take together
constexpr int kTimeDigits = 4;
constexpr int kChannel = 0;
constexpr Bytes kElement = sizeof(float);

std::vector<int> first_ranks(int64_t count) {
  std::vector<int> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

class CollectiveBench {
 public:
  CollectiveBench(Communicator& comm, Ops& ops, Bytes most_bytes)
      : comm_(comm),
        ops_(ops),
        world_(comm.group(first_ranks(comm.size()))),
        most_elements_(most_bytes / kElement),
        in_(ops.allocate(most_elements_)),
        out_(ops.allocate(most_elements_)) {}
  ~CollectiveBench() {
    ops_.free(in_);
    ops_.free(out_);
  }
  CollectiveBench(const CollectiveBench&) = delete;
  CollectiveBench& operator=(const CollectiveBench&) = delete;

  Group& world() { return world_; }

  // Seconds of one call among the first `members` ranks; the others wait meanwhile.
  double measure(CollectiveKind kind, int64_t members, Bytes bytes) {
    const double first_s = agreed_max(call(kind, members, bytes));  // touches pages; gauges
    const double second_s = agreed_max(call(kind, members, bytes));
    const double affordable = kPointSeconds / std::max(std::min(first_s, second_s), 1e-9);
    const int calls = static_cast<int>(std::clamp<double>(affordable, kFewestCalls, kMostCalls));
    std::vector<double> samples;
    for (int i = 0; i < calls; ++i) samples.push_back(call(kind, members, bytes));
    return agreed_max(median(std::move(samples)));
  }

 private:
  double agreed_max(double value) {
    world_.all_reduce(&value, 1, ReduceOp::kMax);
    return value;
  }

  double call(CollectiveKind kind, int64_t members, Bytes bytes) {
    const int64_t elements = std::max<int64_t>(1, bytes / kElement);
    const bool takes_part = comm_.rank() < members;
    if (takes_part) ops_.fill(in_, 0.5f, elements);
    world_.barrier();
    if (!takes_part) return 0;
    const Timing timing = perform(kind, members, elements);
    return to_seconds(timing.end_ns - timing.start_ns);
  }

  Timing perform(CollectiveKind kind, int64_t members, int64_t elements) {
    if (kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive) {
      return message(kind, elements);
    }
    Group& group = comm_.group(first_ranks(members));
    const int64_t share = std::max<int64_t>(1, elements / members);
    switch (kind) {
      case CollectiveKind::kAllReduce:
        // The smallest is the pair of sums of a step's end.
        if (elements <= 4) return sum_pair(group);
        return group.all_reduce(in_, elements, ReduceOp::kSum);
      case CollectiveKind::kAllGather:
        return group.all_gather(in_, out_, share);
      case CollectiveKind::kReduceScatter:
        return group.reduce_scatter(in_, out_, share);
      case CollectiveKind::kBroadcast:
        return group.broadcast(in_, elements, 0);
      default:
        SW_CHECK(false, name_of(kind) << " is not measured");
    }
  }

  Timing sum_pair(Group& group) {
    double pair[2] = {1, 2};
    return group.all_reduce(pair, 2, ReduceOp::kSum);
  }

  // From rank 0 to rank 1; the one whose end is not asked for counts nothing.
  Timing message(CollectiveKind kind, int64_t elements) {
    const bool sender = comm_.rank() == 0;
    const Timing timing = sender ? comm_.send(in_, elements, 1, kChannel)
                                 : comm_.receive(out_, elements, 0, kChannel);
    return sender == (kind == CollectiveKind::kSend) ? timing : Timing{};
  }

  Communicator& comm_;
  Ops& ops_;
  Group& world_;
  int64_t most_elements_;
  float *in_, *out_;
};

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
  RankBench lockstep(bench.world(), {});
  const std::vector<CurvePlan> plans = plan_curves(comm.size());
  const int64_t start_ns = monotonic_ns();
  std::vector<CollectiveCurve> out;
  for (const auto& [kind, ranks] : plans) {
    const double share = static_cast<double>(out.size() + 1) / static_cast<double>(plans.size());
    Section section(lockstep, name_of(kind) + std::string(" of ") + std::to_string(ranks),
                    options.sizes.size(), start_ns + to_nanoseconds(options.seconds * share),
                    progress);
    std::vector<CurvePoint> points;
    double expected_s = 0;
    for (Bytes bytes : options.sizes) {
      if (!section.affords(expected_s) && !points.empty()) break;
      const double seconds = bench.measure(kind, ranks, bytes);
      points.push_back({static_cast<double>(bytes), rounded(seconds, kTimeDigits)});
      expected_s = std::max(kPointSeconds, kFewestCalls * 4 * seconds);
    }
    out.push_back({kind, ranks, lower_envelope(std::move(points))});
  }
  return out;
}

}  // namespace shardwright
