// What stages take for one microbatch, and what they do after their last backward.
#include <algorithm>
#include <numeric>

#include "planner/estimate_timer.h"
#include "planner/program/closing_work.h"
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

void add(EstimateParts* sum, const EstimateParts& part) {
  sum->compute += part.compute;
  sum->tensor += part.tensor;
  sum->context += part.context;
  sum->experts += part.experts;
  sum->sharding += part.sharding;
  sum->host += part.host;
}

// How many microbatches lie between the last passes of a stage's chunks: a round of interleaved
// 1F1B or, breadth-first, all. In the orders that run back and forth over the stages the last
// passes of the two chunks may lie side by side.
int64_t microbatches_between_chunks(const Plan& plan) {
  const int64_t all = plan.microbatches();
  if (plan.schedule == ScheduleKind::kBreadthFirst) return all;
  return std::min(all, interleaved_round(plan.schedule, plan.pp, plan.virtual_stages));
}

}  // namespace

// A collective over the sharded copies: of the dense parameters, then of the experts.
double Estimator::Timer::sharded_bytes_s(CollectiveKind kind, double dense, double experts,
                                         double size, int64_t stage) const {
  const int64_t block = plan_->split.ep * plan_->split.expert_tp(plan_->tp);
  double seconds =
      collective(kind, Axis::kDp, dense * size, group(stage, plan_->tp, shards_of(*plan_, false)));
  if (experts > 0) {
    seconds += collective(kind, Axis::kExpertDp, experts * size,
                          group(stage, block, shards_of(*plan_, true)));
  }
  return seconds;
}

// From a stage to another.
double Estimator::Timer::message_s(int64_t from, int64_t to) const {
  const double parts = static_cast<double>(
      shape_.split.sequence_parallel || kernels_.scattered_messages ? plan_->tp : 1);
  const double bytes =
      static_cast<double>(shape_.tokens() * model_.hidden * size_of(storage_of(plan_->precision)));
  return at(Factor::kMessage) *
         message_seconds(bytes / parts, std::min(from, to), std::max(from, to));
}

// Of all replicas the slowest: where a replica's ranks do not fill nodes evenly, two stages are
// neighbours in one replica and on different nodes in another.
double Estimator::Timer::message_seconds(double bytes, int64_t from, int64_t to) const {
  const CollectiveWork send{CollectiveKind::kSend, Axis::kPp, static_cast<Bytes>(bytes)};
  const int64_t apart = numbering_.together * (to - from);
  const int64_t replica = numbering_.together * plan_->pp;
  int64_t different = 1;  // places of a replica in a node and in what joins nodes
  for (const LinkLevel& level : cluster_.levels) {
    if (level.size >= plan_->ranks()) break;
    different = std::max(different, level.size / std::gcd(level.size, replica));
  }
  if (plan_->rank_order == RankOrder::kTpCpDpPp) different = 1;
  double slowest = 0;
  for (int64_t i = 0; i < std::min(different, plan_->dp); ++i) {
    const int64_t first = numbering_.together * from + i * replica;
    slowest = std::max(slowest, collective_s(cluster_, send, {first, apart, 2}));
  }
  return slowest;
}

// Sum of gradients over `replicas` ranks `stride` apart, of which `shard` neighbours share a copy:
// scattered within the shard group (in every backward already with ZeRO 3), then the shards summed
// over the groups.
double Estimator::Timer::sum_s(Axis axis, double bytes, int64_t stage, int64_t stride,
                               int64_t replicas, int64_t shard) const {
  if (plan_->zero == 0) {
    return collective(CollectiveKind::kAllReduce, axis, bytes, group(stage, stride, replicas));
  }
  double seconds = 0;
  if (plan_->zero < 3) {
    seconds += collective(CollectiveKind::kReduceScatter, axis, bytes, group(stage, stride, shard));
  }
  if (shard < replicas) {
    seconds += collective(CollectiveKind::kAllReduce, axis, bytes / static_cast<double>(shard),
                          group(stage, stride * shard, replicas / shard));
  }
  return seconds;
}

// Gradients over all replicas after (or behind) the last backward.
double Estimator::Timer::reduction_s(const StageTimes& stage) const {
  const double size = static_cast<double>(size_of(plan_->gradient_type));
  const int64_t replicas = plan_->dp * plan_->split.cp;
  double seconds = sum_s(Axis::kDp, stage.all.dense * size, stage.number, plan_->tp, replicas,
                         shards_of(*plan_, false));
  if (stage.all.experts > 0) {
    const int64_t block = plan_->split.ep * plan_->split.expert_tp(plan_->tp);
    seconds += sum_s(Axis::kExpertDp, stage.all.experts * size, stage.number, block,
                     std::max<int64_t>(1, plan_->tp * replicas / block), shards_of(*plan_, true));
  }
  return seconds;
}

double Estimator::Timer::gather_s(const StageTimes& stage) const {
  if (plan_->zero == 0 || plan_->zero == 3) return 0;
  const double size = static_cast<double>(size_of(storage_of(plan_->precision)));
  return sharded_bytes_s(CollectiveKind::kAllGather, stage.all.dense, stage.all.experts, size,
                         stage.number);
}

double Estimator::Timer::update_s(const StageTimes& stage) const {
  ClosingShape shape;
  shape.gradients = static_cast<int64_t>(stage.all.dense + stage.all.experts);
  shape.updated = shape.gradients;
  if (plan_->zero > 0) {
    shape.updated =
        static_cast<int64_t>(stage.all.dense / static_cast<double>(shards_of(*plan_, false)) +
                             stage.all.experts / static_cast<double>(shards_of(*plan_, true)));
  }
  if (plan_->zero == 3) shape.gradients = shape.updated;
  shape.optimizer = plan_->optimizer;
  shape.weight_type = storage_of(plan_->precision);
  shape.gradient_type = plan_->gradient_type;
  shape.moment_type = plan_->moment_type;
  const double offloaded =
      plan_->optimizer_offload * static_cast<double>(shape.updated) *
      static_cast<double>(size_of(shape.gradient_type) + size_of(shape.weight_type));
  return pricer_.pass_s(square_sum_work(shape)) +
         (1 - plan_->optimizer_offload) * pricer_.pass_s(update_work(shape)) +
         pricer_.pass_s(zero_work(shape)) + host_copy_s(offloaded);
}

// Whether a chunk whose layers start at `first` has as many of each kind as the one before it,
// which starts at `before`, and as many of those that are recomputed.
bool Estimator::Timer::same_kinds(int64_t before, int64_t first, int64_t index) const {
  const int64_t count = plan_->stage_layers[index];
  if (plan_->stage_layers[index - 1] != count) return false;
  for (const std::vector<int64_t>& of_kind : before_) {
    for (const int64_t n : {count, std::min(count, plan_->recompute_layers)}) {
      const int64_t then = of_kind[before + n] - of_kind[before];
      if (of_kind[first + n] - of_kind[first] != then) return false;
    }
  }
  return true;
}

void Estimator::Timer::time_stages() {
  const int64_t pp = plan_->pp, chunks = pp * plan_->virtual_stages;
  stages_.assign(pp, {});
  chunks_.clear();
  ChunkTimes times;
  int64_t before = 0, first = 0;  // where the layers of the chunk before and of this one start
  for (int64_t index = 0; index < chunks; ++index) {
    const bool end = index <= 1 || index == chunks - 1;
    // Chunks between the ends with the same layers cost the same.
    if (end || !same_kinds(before, first, index)) times = time_chunk(index);
    before = first;
    first += plan_->stage_layers[index];
    chunks_.push_back(times);
    const int64_t place = stage_of_chunk(*plan_, index);
    StageTimes& stage = stages_[place];
    stage.number = place;
    stage.all.forward += times.forward;
    stage.all.backward += times.backward;
    stage.all.dense += times.dense;
    stage.all.experts += times.experts;
    add(&stage.all.spent, times.spent);
  }
}

// Whether every stage has nodes of its own and one level joins them all: then all messages between
// neighbours take the same.
bool Estimator::Timer::stages_on_whole_nodes() const {
  return cluster_.levels.size() <= 2 && numbering_.together % cluster_.devices_per_node_of(0) == 0;
}

// Whether the groups of all stages span nodes alike.
bool Estimator::Timer::stages_lie_alike() const {
  const int64_t node = cluster_.devices_per_node_of(0);
  const auto aligned = [&](int64_t block) { return block % node == 0 || node % block == 0; };
  return aligned(numbering_.together) &&
         (plan_->rank_order == RankOrder::kTpCpDpPp || aligned(numbering_.together * plan_->pp));
}

// What passes leave of a stage's `work` on the data lane, of which each chunk has a v-th. `pass`:
// one microbatch through all of its chunks. A chunk's part runs beside its own last pass and beside
// all later ones: between the last passes of two chunks lie those of a round of microbatches
// (microbatches_between_chunks). Of k chunks that end last
//   k work / v - pass / v - (k - 1) round pass / v
// is left, which is linear in k. Gathers before the first passes mirror that.
double Estimator::Timer::left_of(double work, double pass) const {
  const double v = static_cast<double>(plan_->virtual_stages);
  const double round = static_cast<double>(microbatches_between_chunks(*plan_));
  const double one = (work - pass) / v, all = work - pass / v - (v - 1) / v * round * pass;
  const double left = std::max({0.0, one, all});
  return left + at(Factor::kDrag) * (work - left);
}

// What each stage does after its last backward, as far as nothing hides it.
void Estimator::Timer::time_ends() {
  const bool alike = stages_lie_alike();
  const StageTimes* before = nullptr;
  for (StageTimes& stage : stages_) {
    const bool same = before != nullptr && alike && before->all.dense == stage.all.dense &&
                      before->all.experts == stage.all.experts &&
                      before->all.backward == stage.all.backward;
    if (same) {
      stage.reduction = before->reduction;
      stage.gather = before->gather;
      stage.update = before->update;
    } else {
      stage.reduction = reduction_s(stage);
      stage.gather = gather_s(stage);
      stage.update = update_s(stage);
      if (plan_->overlap.gradients) stage.reduction = left_of(stage.reduction, stage.all.backward);
      if (plan_->overlap.parameters) stage.gather = left_of(stage.gather, stage.all.forward);
    }
    before = &stage;
  }
}

}  // namespace shardwright
