// What one microbatch takes in the parts of a model and in a chunk of its layers.
#include <algorithm>
#include <cmath>

#include "costmodel/layer_steps.h"
#include "costmodel/memory.h"
#include "planner/estimate_timer.h"

namespace shardwright {
namespace {

// max(a, b), rounded where both are close: (a^4 + b^4)^(1/4). Powers from 3 to 6 fit the
// launch-bound runs among the published ones (small models on one node) equally well.
double smooth_max(double a, double b) {
  if (a < b) std::swap(a, b);
  if (b <= 0.1 * a) return a;
  const double ratio = b / a, square = ratio * ratio;
  return a * std::sqrt(std::sqrt(1 + square * square));
}

}  // namespace

Estimator::Timer::PartTimes Estimator::Timer::time_part(ChunkPart part, int64_t layer) {
  PartTimes out;
  const bool moe = part == ChunkPart::kLayer && model_.layer(layer).moe.experts > 0;
  steps_.clear();
  append_forward(model_, shape_, part, layer, &steps_);
  out.forward = price(moe);
  steps_.clear();
  append_backward(model_, shape_, part, layer, &steps_);
  out.backward = price(moe, &out.weight);
  const bool again = shape_.recompute || shape_.recompute_modules != 0;
  if (part == ChunkPart::kLayer && again) {
    ChunkShape all = shape_;
    all.recompute_layers = 0;
    steps_.clear();
    append_recompute(model_, all, layer, &steps_);
    const bool routed = shape_.recompute || (shape_.recompute_modules & kRecomputeMoe) != 0;
    out.again = price(moe && routed);
  }
  return out;
}

// Where experts are shared out over more ranks than those of one replica, the order of axes says
// how far from each other these are.
bool Estimator::Timer::same_expert_group(const Plan& a, const Plan& b) {
  const int64_t etp = a.split.expert_tp(a.tp), ep = a.split.ep;
  if (a.rank_order == RankOrder::kTpCpDpPp && b.rank_order == a.rank_order) return true;
  return numbering_of(a).group(0, 0, etp, ep) == numbering_of(b).group(0, 0, etp, ep);
}

// Whether a plan's layers, embedding and head take what those of the plan before took.
bool Estimator::Timer::same_layers(const Plan& plan) const {
  const Plan& known = layers_of_;
  return timed_ && plan.tp == known.tp && plan.split == known.split &&
         plan.micro_batch == known.micro_batch && plan.seq == known.seq &&
         plan.recompute == known.recompute && plan.recompute_modules == known.recompute_modules &&
         plan.precision == known.precision && plan.gradient_type == known.gradient_type &&
         plan.mtp_layers == known.mtp_layers && (plan.pp == 1) == (known.pp == 1) &&
         (plan.tp == 1 || plan.overlap.tensor == known.overlap.tensor) &&
         same_expert_group(plan, known) &&
         (plan.activation_offload == 0 || known.activation_offload > 0);
}

void Estimator::Timer::time_parts() {
  if (same_layers(*plan_)) return;
  timed_ = true;
  ++parts_timed_;
  layers_of_ = *plan_;
  const double hidden = static_cast<double>(model_.hidden);
  const double bias = model_.norm == Norm::kLayerNorm ? 2 : 1;
  for (size_t kind = 0; kind < kind_times_.size(); ++kind) {
    if (example_[kind] < 0) continue;
    PartTimes& times = kind_times_[kind];
    times = time_part(ChunkPart::kLayer, example_[kind]);
    const LayerShape s(model_, shape_, model_.kinds[kind]);
    const int64_t routed = s.local_experts * (s.expert_up + s.expert_ffn) * s.hidden;
    times.experts = static_cast<double>(routed);
    const double norms = s.layer.ops.empty() ? s.layer.norms * bias * hidden : 0;
    times.dense = static_cast<double>(s.weights() - routed) + norms;
    if (plan_->activation_offload > 0) {
      times.saved = saved_bytes(example_[kind], false);
      times.saved_again = saved_bytes(example_[kind], true);
    }
  }
  if (model_.layer_list()) {
    embedding_ = head_ = mtp_ = PartTimes();
    return;
  }
  const double table = static_cast<double>(padded_vocab_share(model_, plan_->tp)) * hidden;
  embedding_ = time_part(ChunkPart::kEmbedding, -1);
  embedding_.dense = table;
  if (model_.position == Position::kLearned) {
    embedding_.dense += static_cast<double>(model_.max_positions) * hidden;
  }
  head_ = time_part(ChunkPart::kHead, -1);
  head_.dense = bias * hidden + (model_.tied_embeddings && plan_->pp == 1 ? 0 : table);
  if (plan_->mtp_layers > 0) mtp_ = time_part(ChunkPart::kMtp, -1);
}

// With its input, as all layers but those behind a message keep it.
double Estimator::Timer::saved_bytes(int64_t layer, bool recompute) const {
  ChunkShape one = shape_;
  one.first_layer = layer;
  one.num_layers = 1;
  one.embedding = true;
  one.recompute = recompute;
  one.recompute_layers = 0;
  double bytes = 0;
  for (const SavedTensor& tensor : saved_tensors(model_, one)) {
    bytes += static_cast<double>(tensor.bytes);
  }
  return bytes;
}

double Estimator::Timer::pass_seconds(const Pass& spent, double sharding, double copies,
                                      EstimateParts* parts) const {
  const Overlap& overlap = plan_->overlap;
  double busy = spent.compute;
  const auto join = [&](double communication, bool hidden, double* exposed) {
    const double with = hidden ? beside(busy, communication) : busy + communication;
    *exposed += with - busy;
    busy = with;
  };
  parts->compute += spent.compute;
  // Each tp collective travels beside its own product and no longer.
  const double tp =
      overlap.tensor ? spent.tp_bare + at(Factor::kDrag) * (spent.tp - spent.tp_bare) : spent.tp;
  parts->tensor += tp;
  busy += tp;
  // Blocks of keys and values travel while the block before is worked on.
  join(spent.cp, plan_->split.cp_kind == CpKind::kRing, &parts->context);
  join(spent.ep, overlap.experts, &parts->experts);
  join(sharding, overlap.parameters, &parts->sharding);
  // Copies go one layer ahead, by copy engines: unlike collectives they take no processors, and of
  // the memory's bandwidth a few percent.
  parts->host += std::max(0.0, copies - busy);
  busy = std::max(busy, copies);
  const double host = kernels_.host_share *
                      (spent.steps * at(Factor::kHostStep) + spent.moe * at(Factor::kHostMoe));
  const double seconds = smooth_max(busy, host);
  parts->host += seconds - busy;
  return seconds;
}

// With ZeRO-3: one layer's, or the embedding's or head's, gathered or scattered as a whole or, by
// software that shares out every tensor, in so many pieces.
double Estimator::Timer::sharded_s(CollectiveKind kind, const PartTimes& part, double size) const {
  const double pieces = kernels_.sharded_pieces;
  return pieces * sharded_bytes_s(kind, part.dense / pieces, part.experts / pieces, size, 0);
}

Estimator::Timer::ChunkTimes Estimator::Timer::time_chunk(int64_t index) const {
  const int64_t chunks = plan_->pp * plan_->virtual_stages;
  int64_t first = 0;
  for (int64_t i = 0; i < index; ++i) first += plan_->stage_layers[i];
  const int64_t end = first + plan_->stage_layers[index];
  const int64_t again =
      plan_->recompute_layers == 0 ? end : std::min(end, first + plan_->recompute_layers);
  Pass forward, backward, weight;
  ChunkTimes out;
  double saved = 0;                // bytes
  double gather = 0, scatter = 0;  // of weights and gradients that no rank holds whole
  const auto weight_size = static_cast<double>(size_of(storage_of(plan_->precision)));
  const auto gradient_size = static_cast<double>(size_of(plan_->gradient_type));
  const auto include = [&](const PartTimes& part, double count, double recomputed) {
    forward.add(part.forward, count);
    backward.add(part.backward, count);
    backward.add(part.again, recomputed);
    weight.add(part.weight, count);
    out.dense += count * part.dense;
    out.experts += count * part.experts;
    const double whole = plan_->recompute == Recompute::kFull ? recomputed : 0;
    saved += (count - whole) * part.saved + whole * part.saved_again;
    if (plan_->zero == 3 && count > 0) {
      gather += count * sharded_s(CollectiveKind::kAllGather, part, weight_size);
      scatter += count * sharded_s(CollectiveKind::kReduceScatter, part, gradient_size);
    }
  };
  for (size_t kind = 0; kind < kind_times_.size(); ++kind) {
    const std::vector<int64_t>& before = before_[kind];
    const int64_t count = before[end] - before[first];
    if (count == 0) continue;
    include(kind_times_[kind], static_cast<double>(count),
            static_cast<double>(before[again] - before[first]));
  }
  if (index == 0) include(embedding_, 1, 0);
  if (index == chunks - 1) {
    include(head_, 1, 0);
    const double modules = static_cast<double>(plan_->mtp_layers);
    if (modules > 0) {
      include(mtp_, modules, 0);
      include(kind_times_[model_.layer_kind.back()], modules, modules);
      include(head_, modules, 0);
    }
  }
  const double copies = host_copy_s(plan_->activation_offload * saved);
  out.forward = pass_seconds(forward, gather, copies, &out.spent);
  out.backward = pass_seconds(backward, gather + scatter, copies, &out.spent);
  if (splits_backward(plan_->schedule)) {
    EstimateParts known;
    backward.add(weight, -1);
    out.backward_input = pass_seconds(backward, gather + scatter, copies, &known);
    out.backward_weight = pass_seconds(weight, 0, 0, &known);
  }
  return out;
}

}  // namespace shardwright
