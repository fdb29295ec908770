#include "executor/profile/collective_bench.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "costmodel/check.h"
#include "executor/profile/sampling.h"

namespace shardwright {
namespace {

constexpr int kFewestCalls = 5, kMostCalls = 60;
constexpr double kPointSeconds = 0.03;  // what calls beyond the fewest may take together
constexpr double kClockTick = 1e-9;     // a curve's times are positive
constexpr int kChannel = 0;
constexpr Bytes kElement = sizeof(float);
constexpr double kGrowth = 4;  // from one size to the next

std::vector<int> first_ranks(int64_t count) {
  std::vector<int> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace

CollectiveBench::CollectiveBench(Communicator& comm, Ops& ops, Bytes most_bytes)
    : comm_(comm),
      ops_(ops),
      world_(comm.host().group(first_ranks(comm.size()))),
      in_(ops.allocate_floats(most_bytes / kElement)),
      out_(ops.allocate_floats(most_bytes / kElement)),
      pair_(static_cast<double*>(ops.allocate(2 * sizeof(double)))) {
  ops.zero(pair_, 2 * sizeof(double));
}

CollectiveBench::~CollectiveBench() {
  ops_.free(in_);
  ops_.free(out_);
  ops_.free(pair_);
}

double CollectiveBench::expected_s(double call_s) {
  return std::max(kPointSeconds, kFewestCalls * kGrowth * call_s);
}

double CollectiveBench::measure(CollectiveKind kind, int64_t members, Bytes bytes) {
  const double first_s = agreed_max(call(kind, members, bytes));  // touches pages; gauges
  const double second_s = agreed_max(call(kind, members, bytes));
  const double affordable = kPointSeconds / std::max(std::min(first_s, second_s), kClockTick);
  const int calls = static_cast<int>(std::clamp<double>(affordable, kFewestCalls, kMostCalls));
  std::vector<double> samples;
  for (int i = 0; i < calls; ++i) samples.push_back(call(kind, members, bytes));
  return std::max(agreed_max(median(std::move(samples))), kClockTick);
}

double CollectiveBench::agreed_max(double value) {
  world_.all_reduce(&value, 1, ReduceOp::kMax);
  return value;
}

double CollectiveBench::call(CollectiveKind kind, int64_t members, Bytes bytes) {
  const int64_t elements = std::max<int64_t>(1, bytes / kElement);
  const bool takes_part = comm_.rank() < members;
  if (takes_part) ops_.fill(in_, 0.5f, elements);  // as a step before the collective does
  world_.barrier();
  if (!takes_part) return 0;
  if (!ops_.lanes().stamps_are_free()) return device_call(kind, members, elements);
  const Timing timing = perform(kind, members, elements);
  return to_seconds(timing.end_ns - timing.start_ns);
}

// The device is not asked when it began: enough calls that giving the first and learning of the
// last cost nothing.
double CollectiveBench::device_call(CollectiveKind kind, int64_t members, int64_t elements) {
  constexpr int kCallsTogether = 20;
  ops_.synchronize();
  const int64_t begin_ns = monotonic_ns();
  for (int i = 0; i < kCallsTogether; ++i) perform(kind, members, elements);
  ops_.synchronize();
  return to_seconds(monotonic_ns() - begin_ns) / kCallsTogether;
}

Timing CollectiveBench::perform(CollectiveKind kind, int64_t members, int64_t elements) {
  if (kind == CollectiveKind::kSend || kind == CollectiveKind::kReceive) {
    return message(kind, elements);
  }
  Group& group = comm_.group(first_ranks(members));
  const int64_t share = std::max<int64_t>(1, elements / members);
  switch (kind) {
    case CollectiveKind::kAllReduce:
      // The smallest is the pair of sums of a step's end.
      if (elements <= 4) return group.all_reduce(pair_, 2, ReduceOp::kSum);
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

// The rank whose end is not asked for counts nothing.
Timing CollectiveBench::message(CollectiveKind kind, int64_t elements) {
  const bool sender = comm_.rank() == 0;
  const Timing timing =
      sender ? comm_.send(in_, elements, 1, kChannel) : comm_.receive(out_, elements, 0, kChannel);
  return sender == (kind == CollectiveKind::kSend) ? timing : Timing{};
}

}  // namespace shardwright
