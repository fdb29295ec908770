#include "planner/stage_loads.h"

#include <algorithm>

namespace shardwright {

bool StageLoad::within(const StageLoad& other) const {
  const HeldParameters &a = held, &b = other.held;
  const Activations &x = activations, &y = other.activations;
  return a.dense <= b.dense && a.experts <= b.experts && a.largest_layer <= b.largest_layer &&
         a.distinct <= b.distinct && a.head == b.head && x.kept <= y.kept && x.head <= y.head &&
         x.recompute <= y.recompute && x.backward <= y.backward;
}

StageLoads::StageLoads(const MemoryContext& context) : c_(context) {
  const std::vector<int>& layers = c_.model.layer_kind;
  before_.assign(c_.model.kinds.size(), std::vector<int64_t>(layers.size() + 1, 0));
  for (size_t i = 0; i < layers.size(); ++i) {
    for (size_t kind = 0; kind < before_.size(); ++kind) {
      before_[kind][i + 1] = before_[kind][i] + (layers[i] == static_cast<int>(kind) ? 1 : 0);
    }
  }
}

const std::vector<StageLoad>& StageLoads::of(const Plan& plan) { return loads(plan).all; }
const std::vector<StageLoad>& StageLoads::fullest_of(const Plan& plan) {
  return loads(plan).fullest;
}

const StageLoads::Loads& StageLoads::loads(const Plan& plan) {
  if (!same_pipeline(plan)) set_pipeline(plan);
  const LoadsKey key(plan.recompute, plan.recompute_modules, plan.recompute_layers,
                     plan.activation_offload);
  const auto [entry, fresh] = loads_.try_emplace(key);
  Loads& out = entry->second;
  if (!fresh) return out;
  const LayerMemory& layers = layers_of(plan);
  for (int64_t stage = 0; stage < plan.pp; ++stage) out.all.push_back(load(plan, layers, stage));
  for (const StageLoad& stage : out.all) {
    const auto inside = [&](const StageLoad& other) { return stage.within(other); };
    if (std::any_of(out.fullest.begin(), out.fullest.end(), inside)) continue;
    out.fullest.push_back(stage);
  }
  return out;
}

const LayerMemory& StageLoads::layers_of(const Plan& plan) {
  const Split& split = plan.split;
  const LayersKey key(plan.tp, split.cp, split.ep, split.expert_tp(plan.tp),
                      (split.sequence_parallel ? 2 : 0) + static_cast<int64_t>(split.cp_kind),
                      plan.micro_batch, plan.seq, plan.mtp_layers, plan.precision, plan.recompute,
                      plan.recompute_modules);
  const auto [entry, fresh] = layers_.try_emplace(key);
  if (fresh) entry->second = layer_memory(c_, plan);
  return entry->second;
}

bool StageLoads::same_pipeline(const Plan& plan) const {
  const Plan& p = pipeline_;
  return !first_.empty() && plan.tp == p.tp && plan.pp == p.pp &&
         plan.virtual_stages == p.virtual_stages && plan.schedule == p.schedule &&
         plan.split == p.split && plan.micro_batch == p.micro_batch &&
         plan.microbatches() == p.microbatches() && plan.seq == p.seq &&
         plan.precision == p.precision && plan.mtp_layers == p.mtp_layers &&
         plan.stage_layers == p.stage_layers && plan.schedule_cap == p.schedule_cap &&
         plan.schedule_units == p.schedule_units;
}

void StageLoads::set_pipeline(const Plan& plan) {
  pipeline_ = plan;
  loads_.clear();
  first_.assign(1, 0);
  for (int64_t layers : plan.stage_layers) first_.push_back(first_.back() + layers);
  held_.clear();
  const ScheduleShape shape = schedule_shape(plan);
  for (int stage = 0; stage < shape.stages; ++stage) {
    for (int v = 0; v < shape.virtual_stages; ++v) {
      held_.push_back(schedules_.in_flight(shape, stage, v));
    }
  }
}

StageLoad StageLoads::load(const Plan& plan, const LayerMemory& layers, int64_t stage) const {
  StageLoad out;
  for (int64_t v = 0; v < plan.virtual_stages; ++v) add_chunk(plan, layers, stage, v, &out);
  if (c_.stack.dummy_gradients > 0) out.held.distinct = distinct_elements(plan, layers, stage);
  return out;
}

void StageLoads::add_chunk(const Plan& plan, const LayerMemory& layers, int64_t stage, int64_t v,
                           StageLoad* out) const {
  const int64_t chunk = chunk_of_stage(plan, stage, v);
  const int64_t first = first_[chunk], end = first_[chunk + 1];
  const bool embedding = chunk == 0, head = chunk + 2 == static_cast<int64_t>(first_.size());
  HeldParameters& held = out->held;
  Activations& activations = out->activations;
  if (embedding || head) held.dense += embedding_parameters(c_.model, plan.tp, embedding, head);
  if (head) {
    held.head = layers.head_table;
    activations.head = layers.head;
  }
  // Layers whose forward is computed again come first.
  int64_t again = first;
  if (plan.recompute == Recompute::kFull) {
    again = plan.recompute_layers == 0 ? end : std::min(end, first + plan.recompute_layers);
  }
  double kept = head ? 0 : layers.output;
  for (size_t kind = 0; kind < layers.kinds.size(); ++kind) {
    const KindMemory& k = layers.kinds[kind];
    const auto count = static_cast<double>(layers_of_kind(kind, first, end));
    if (count == 0) continue;
    const auto whole = static_cast<double>(layers_of_kind(kind, first, again));
    held.dense += count * k.dense;
    held.experts += count * k.experts;
    held.largest_layer = std::max(held.largest_layer, k.layer());
    kept += whole * k.recomputed + (count - whole) * k.kept;
    activations.backward = std::max(activations.backward, k.backward);
    double rebuilt = 0;
    if (whole > 0) rebuilt = k.rebuilt - k.recomputed;
    if (plan.recompute == Recompute::kSelective) rebuilt = k.rebuilt - k.kept;
    activations.recompute = std::max(activations.recompute, rebuilt);
  }
  const int microbatches = held_[stage * plan.virtual_stages + v];
  activations.kept += microbatches * kept * (1 - plan.activation_offload);
}

double StageLoads::distinct_elements(const Plan& plan, const LayerMemory& layers,
                                     int64_t stage) const {
  std::vector<std::pair<int64_t, int64_t>> seen;
  double elements = 0;
  for (size_t kind = 0; kind < layers.kinds.size(); ++kind) {
    int64_t count = 0;
    for (int64_t v = 0; v < plan.virtual_stages; ++v) {
      const int64_t chunk = chunk_of_stage(plan, stage, v);
      count += layers_of_kind(kind, first_[chunk], first_[chunk + 1]);
    }
    if (count == 0) continue;
    for (const auto& shape : layers.kinds[kind].shapes) {
      if (std::find(seen.begin(), seen.end(), shape) != seen.end()) continue;
      seen.push_back(shape);
      elements += static_cast<double>(shape.first * shape.second);
    }
  }
  return elements;
}

}  // namespace shardwright
