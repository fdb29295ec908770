#include "planner/balance.h"

#include <algorithm>
#include <limits>

#include "costmodel/check.h"
#include "costmodel/pricer.h"

namespace shardwright {
namespace {

// Prices lists of steps as price() does: each step rounded to whole nanoseconds.
class StageTimer {
 public:
  StageTimer(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan, int64_t rank)
      : model_(model),
        cluster_(cluster),
        pricer_(cluster, rank, std::min(cluster.devices_per_node_of(rank), plan.ranks())),
        tp_group_{rank - rank % plan.tp, 1, plan.tp} {
    shape_.tp = plan.tp;
    shape_.micro_batch = plan.micro_batch;
    shape_.seq = plan.seq;
    shape_.recompute = plan.recompute == Recompute::kFull;
    shape_.type = plan.precision;
  }

  Nanoseconds layer(int64_t index) const {
    ChunkShape shape = shape_;
    shape.first_layer = index;
    shape.num_layers = 1;
    return time(shape);
  }
  Nanoseconds embedding() const {
    ChunkShape shape = shape_;
    shape.embedding = true;
    return time(shape);
  }
  Nanoseconds head() const {
    ChunkShape shape = shape_;
    shape.head = true;
    return time(shape);
  }

 private:
  Nanoseconds time(const ChunkShape& shape) const {
    return sum(forward_steps(model_, shape)) + sum(backward_steps(model_, shape));
  }
  Nanoseconds sum(const std::vector<Step>& steps) const {
    Nanoseconds total = 0;
    for (const Step& step : steps) {
      const auto* work = std::get_if<CollectiveWork>(&step.work);
      total += to_nanoseconds(work == nullptr ? pricer_.compute_s(step.work)
                                              : collective_s(cluster_, *work, tp_group_));
    }
    return total;
  }

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  Pricer pricer_;
  GroupPlacement tp_group_;
  ChunkShape shape_;
};

// Dynamic programming over (stages placed, layers placed). Positions are boundaries: stage s holds
// the layers from boundary s to boundary s+1.
class Balancer {
 public:
  explicit Balancer(const std::vector<LayerTimes>& stages)
      : stages_(stages), layers_(stages.front().layers.size()) {
    for (const LayerTimes& stage : stages) {
      SW_CHECK_EQ(stage.layers.size(), layers_, "layers of every stage");
      prefix_.emplace_back(layers_ + 1, 0);
      for (size_t i = 0; i < layers_; ++i) {
        prefix_.back()[i + 1] = prefix_.back()[i] + stage.layers[i];
      }
    }
  }

  std::vector<int64_t> run() {
    limit_ = slowest();
    return evenest();
  }

 private:
  size_t pp() const { return stages_.size(); }
  Nanoseconds time(size_t stage, size_t from, size_t to) const {
    Nanoseconds total = prefix_[stage][to] - prefix_[stage][from];
    if (stage == 0) total += stages_[stage].embedding;
    if (stage + 1 == pp()) total += stages_[stage].head;
    return total;
  }

  // The smallest possible time of the slowest stage. best[i]: over the stages so far, holding i
  // layers.
  Nanoseconds slowest() const {
    constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();
    std::vector<Nanoseconds> best(layers_ + 1, kNever);
    best[0] = 0;
    for (size_t stage = 0; stage < pp(); ++stage) {
      std::vector<Nanoseconds> next(layers_ + 1, kNever);
      for (size_t to = stage + 1; to <= layers_; ++to) {
        for (size_t from = stage; from < to; ++from) {
          if (best[from] == kNever) continue;
          next[to] = std::min(next[to], std::max(best[from], time(stage, from, to)));
        }
      }
      best = std::move(next);
    }
    return best[layers_];
  }

  // Squares in units in which even the slowest stage has 25 bits: sums of up to 4096 stages are
  // exact, so that splits that only differ in order tie.
  int64_t square(Nanoseconds t) const {
    int shift = 0;
    while ((limit_ >> shift) >= (int64_t{1} << 25)) ++shift;
    return (t >> shift) * (t >> shift);
  }

  // rest[s][i]: the smallest sum of squares of stages s.. that hold the layers from i on, none
  // slower than the limit. Filled from the back, so that the front decides ties.
  std::vector<int64_t> evenest() const {
    constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
    std::vector<std::vector<int64_t>> rest(pp() + 1, std::vector<int64_t>(layers_ + 1, kNever));
    std::vector<std::vector<size_t>> choice(pp(), std::vector<size_t>(layers_ + 1, 0));
    rest[pp()][layers_] = 0;
    for (size_t stage = pp(); stage-- > 0;) {
      for (size_t from = stage; from < layers_; ++from) {
        for (size_t to = from + 1; to <= layers_; ++to) {
          const Nanoseconds t = time(stage, from, to);
          if (t > limit_) break;
          const int64_t after = rest[stage + 1][to];
          if (after == kNever || square(t) + after >= rest[stage][from]) continue;
          rest[stage][from] = square(t) + after;
          choice[stage][from] = to;
        }
      }
    }
    std::vector<int64_t> split;
    for (size_t stage = 0, from = 0; stage < pp(); ++stage) {
      split.push_back(static_cast<int64_t>(choice[stage][from] - from));
      from = choice[stage][from];
    }
    return split;
  }

  const std::vector<LayerTimes>& stages_;
  size_t layers_;
  std::vector<std::vector<Nanoseconds>> prefix_;
  Nanoseconds limit_ = 0;
};

}  // namespace

LayerTimes layer_times(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan,
                       int64_t rank) {
  const StageTimer timer(model, cluster, plan, rank);
  LayerTimes times;
  times.embedding = timer.embedding();
  times.head = timer.head();
  // Layers of one kind cost the same.
  std::vector<Nanoseconds> of_kind(model.kinds.size(), -1);
  for (int64_t i = 0; i < model.layers(); ++i) {
    Nanoseconds& known = of_kind[model.layer_kind[i]];
    if (known < 0) known = timer.layer(i);
    times.layers.push_back(known);
  }
  return times;
}

std::vector<int64_t> balance(const std::vector<LayerTimes>& stages) {
  SW_CHECK(!stages.empty() && stages.front().layers.size() >= stages.size(), stages.size()
                                                                                 << " stages");
  return Balancer(stages).run();
}

std::vector<int64_t> balanced_chunks(const ModelSpec& model, const ClusterSpec& cluster,
                                     const Plan& plan) {
  std::vector<LayerTimes> stages, chunks;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    // One device: computed once, as the search calls this for thousands of candidates.
    if (stage > 0 && cluster.groups.size() == 1) {
      stages.push_back(stages.front());
    } else {
      stages.push_back(layer_times(model, cluster, plan, rank_at(plan, {0, 0, stage})));
    }
  }
  for (int64_t chunk = 0; chunk < plan.pp * plan.virtual_stages; ++chunk) {
    chunks.push_back(stages[stage_of_chunk(plan, chunk)]);
  }
  return balance(chunks);
}

}  // namespace shardwright
