#include "planner/rank_memory.h"

#include <algorithm>

#include "planner/schedule/held.h"

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kHalf = 2;  // bytes of a 16-bit element

// What a layer of one kind holds and keeps on a rank.
struct KindMemory {
  double dense = 0, experts = 0;                 // parameters
  double kept = 0, recomputed = 0, rebuilt = 0;  // a microbatch's tensors: with the plan's modules,
                                                 // when all is computed again, and everything
  double backward = 0;
  std::vector<std::pair<int64_t, int64_t>> shapes;  // of its weights, each once
  double layer() const { return dense + experts; }
};

// Parameters that a rank of one stage holds: experts have replicas of their own.
struct HeldParameters {
  double dense = 0, experts = 0;
  double largest_layer = 0;
  double distinct = 0;  // one of every weight shape
  double head = 0;      // of the output projection
  double all() const { return dense + experts; }
};

double embedding_parameters(const ModelSpec& model, int64_t tp, bool embedding, bool head) {
  const auto hidden = static_cast<double>(model.hidden);
  const auto table = static_cast<double>(padded_vocab_share(model, tp)) * hidden;
  double count = 0;
  if (embedding) {
    count += table;
    if (model.position == Position::kLearned) {
      count += static_cast<double>(model.max_positions) * hidden;
    }
  }
  // A tied head on another stage than the embedding holds a copy of the table.
  if (head && !(model.tied_embeddings && embedding)) count += table;
  return count;
}

KindMemory kind_memory(const MemoryContext& c, ChunkShape chunk, int64_t layer) {
  KindMemory out;
  for (const HeldWeight& w : held_weights(c.model, chunk, layer)) {
    (w.expert ? out.experts : out.dense) += static_cast<double>(w.elements());
    const std::pair shape(w.rows, w.cols);
    if (std::find(out.shapes.begin(), out.shapes.end(), shape) == out.shapes.end()) {
      out.shapes.push_back(shape);
    }
  }
  out.backward = backward_bytes(c, chunk, layer);
  chunk.recompute = false;
  out.kept = total_bytes(kept_of_layer(c, chunk, layer, false));
  out.rebuilt = total_bytes(kept_of_layer(c, chunk, layer, true));
  chunk.recompute = true;
  chunk.recompute_layers = 0;
  out.recomputed = total_bytes(kept_of_layer(c, chunk, layer, false));
  return out;
}

// Replicas that share one copy of what ZeRO shards.
double replicas(const Plan& plan, bool experts) {
  const int64_t block = plan.dp * plan.split.cp;
  if (experts) {
    const int64_t held = plan.split.ep * plan.split.expert_tp(plan.tp);
    return static_cast<double>(std::max<int64_t>(1, plan.tp * block / held));
  }
  return static_cast<double>(plan.shard_group > 0 ? std::min(plan.shard_group, block) : block);
}

struct States {
  double weights = 0, gradients = 0, sharded = 0, gathered = 0, step = 0;
};

// Gradients are what of `unsharded` exceeds the 16-bit weights.
States states_of(const MemoryStack& stack, const Plan& plan, const HeldParameters& held) {
  const bool fp16 = plan.precision == DataType::kFp16;
  const double unsharded = fp16 ? stack.unsharded_fp16 : stack.unsharded_bf16;
  double sharded = fp16 ? stack.sharded_fp16 : stack.sharded_bf16;
  sharded *= 1 - plan.optimizer_offload;
  States states;
  for (const bool experts : {false, true}) {
    const double count = experts ? held.experts : held.dense;
    const double shard = replicas(plan, experts);
    const double weights = plan.zero >= 3 ? kHalf / shard : kHalf;
    const double gradients = (unsharded - kHalf) / (plan.zero >= 2 ? shard : 1);
    states.weights += count * weights;
    states.gradients += count * gradients;
    states.sharded += count * sharded / (plan.zero >= 1 ? shard : 1);
    states.step += count * stack.step_copies / (plan.zero >= 1 ? shard : 1);
  }
  if (storage_of(plan.precision) != plan.precision) {
    states.weights += (held.all() - held.head) * stack.fp8_copies;
  }
  if (plan.zero >= 3) {
    states.gathered =
        held.largest_layer * (kHalf * stack.gathered_layers + stack.gathered_gradient) +
        kHalf * held.head;
  }
  return states;
}

// Activations in flight and the additions of the fullest moments, of one stage.
struct Activations {
  double kept = 0, head = 0, recompute = 0, backward = 0;
};

double workspaces(const MemoryContext& c) {
  const bool experts = std::any_of(c.model.kinds.begin(), c.model.kinds.end(),
                                   [](const LayerSpec& kind) { return kind.moe.experts > 0; });
  return kGib * (c.stack.workspace_gib + (experts ? c.stack.expert_workspace_gib : 0));
}

struct Moment {
  const char* phase;
  std::vector<MemoryPart> parts;
};

double sum_of(const std::vector<MemoryPart>& parts) {
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  return sum;
}

}  // namespace

class RankMemoryModel::Table {
 public:
  explicit Table(const MemoryContext& context)
      : c_(context), kinds_(context.model.kinds.size()), workspaces_(workspaces(context)) {
    const std::vector<int>& layers = c_.model.layer_kind;
    before_.assign(kinds_.size(), std::vector<int64_t>(layers.size() + 1, 0));
    for (size_t i = 0; i < layers.size(); ++i) {
      for (size_t kind = 0; kind < kinds_.size(); ++kind) {
        before_[kind][i + 1] = before_[kind][i] + (layers[i] == static_cast<int>(kind) ? 1 : 0);
      }
    }
  }

  void set(const Plan& plan) {
    plan_ = &plan;
    shape_ = schedule_shape(plan);
    if (!same_layers(plan)) {
      known_ = plan;
      known_.stage_layers.clear();
      filled_ = true;
      fill_kinds();
    }
    first_.assign(1, 0);
    for (int64_t layers : plan.stage_layers) first_.push_back(first_.back() + layers);
  }

  // What a stage needs at its fullest moment, in numbers and with their names.
  double allocated(int64_t stage) {
    weigh(stage);
    const double kept = always() + activations_.kept;
    return std::max({kept + states_.gathered + activations_.head,
                     kept + states_.gathered + activations_.recompute + activations_.backward,
                     always() + states_.step});
  }
  RankMemory memory(int64_t stage) {
    RankMemory memory;
    memory.stage = stage;
    memory.allocated_bytes = -1;
    weigh(stage);
    const MemoryPart kept = {"activations", activations_.kept};
    const MemoryPart whole = {"gathered weights", states_.gathered};
    consider({"backward of the loss", {kept, whole, {"logits and loss", activations_.head}}},
             &memory);
    consider({"backward of a layer",
              {kept,
               whole,
               {"recomputed", activations_.recompute},
               {"gradients", activations_.backward}}},
             &memory);
    consider({"optimizer step", {{"copies of the shard", states_.step}}}, &memory);
    memory.reserved_bytes = memory.allocated_bytes * c_.stack.slack;
    memory.device_bytes = device_bytes(memory.allocated_bytes);
    return memory;
  }
  double device_bytes(double allocated) const {
    return allocated * c_.stack.slack + kGib * c_.stack.context_gib;
  }

 private:
  bool same_layers(const Plan& plan) const {
    return filled_ && plan.tp == known_.tp && plan.split == known_.split &&
           plan.micro_batch == known_.micro_batch && plan.seq == known_.seq &&
           plan.recompute == known_.recompute &&
           plan.recompute_modules == known_.recompute_modules &&
           plan.precision == known_.precision && plan.mtp_layers == known_.mtp_layers;
  }
  void fill_kinds() {
    Plan whole = known_;
    whole.pp = whole.virtual_stages = 1;
    whole.recompute_layers = 0;
    whole.schedule = ScheduleKind::kOneFOneB;
    whole.stage_layers = {c_.model.layers()};
    const ChunkShape shape = chunk_shape(whole, 0);
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      const auto& layers = c_.model.layer_kind;
      const auto example = std::find(layers.begin(), layers.end(), static_cast<int>(kind));
      if (example != layers.end()) {
        kinds_[kind] = kind_memory(c_, shape, example - layers.begin());
      }
    }
    head_ = total_bytes(head_tensors(c_, shape));
    output_ = c_.stack.stage_output * kHalf * static_cast<double>(shape.tokens() * c_.model.hidden);
  }

  double always() const {
    return states_.weights + states_.gradients + states_.sharded + dummies() + buckets() +
           workspaces_;
  }
  double dummies() const { return c_.stack.dummy_gradients * held_.distinct; }
  double buckets() const { return 2 * kHalf * std::min(held_.all(), c_.stack.bucket_elements); }

  void weigh(int64_t stage) {
    held_ = {};
    activations_ = {};
    shapes_.clear();
    for (int64_t v = 0; v < plan_->virtual_stages; ++v) add_chunk(stage, v);
    states_ = states_of(c_.stack, *plan_, held_);
  }

  void add_chunk(int64_t stage, int64_t v) {
    const int64_t chunk = chunk_of_stage(*plan_, stage, v);
    const int64_t first = first_[chunk], end = first_[chunk + 1];
    const bool embedding = chunk == 0, head = chunk + 2 == static_cast<int64_t>(first_.size());
    held_.dense += embedding_parameters(c_.model, plan_->tp, embedding, head);
    if (head) {
      held_.head = static_cast<double>(padded_vocab_share(c_.model, plan_->tp)) *
                   static_cast<double>(c_.model.hidden);
      activations_.head = head_;
    }
    // Layers whose forward is computed again come first.
    int64_t again = first;
    if (plan_->recompute == Recompute::kFull) {
      again = plan_->recompute_layers == 0 ? end : std::min(end, first + plan_->recompute_layers);
    }
    double kept = head ? 0 : output_;
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      const KindMemory& k = kinds_[kind];
      const auto count = static_cast<double>(before_[kind][end] - before_[kind][first]);
      if (count == 0) continue;
      const auto whole = static_cast<double>(before_[kind][again] - before_[kind][first]);
      held_.dense += count * k.dense;
      held_.experts += count * k.experts;
      held_.largest_layer = std::max(held_.largest_layer, k.layer());
      add_shapes(k);
      kept += whole * k.recomputed + (count - whole) * k.kept;
      activations_.backward = std::max(activations_.backward, k.backward);
      if (whole > 0)
        activations_.recompute = std::max(activations_.recompute, k.rebuilt - k.recomputed);
      if (plan_->recompute == Recompute::kSelective) {
        activations_.recompute = std::max(activations_.recompute, k.rebuilt - k.kept);
      }
    }
    const int held = schedules_.in_flight(shape_, static_cast<int>(stage), static_cast<int>(v));
    activations_.kept += held * kept * (1 - plan_->activation_offload);
  }

  void add_shapes(const KindMemory& kind) {
    if (c_.stack.dummy_gradients == 0) return;
    for (const auto& shape : kind.shapes) {
      if (std::find(shapes_.begin(), shapes_.end(), shape) != shapes_.end()) continue;
      shapes_.push_back(shape);
      held_.distinct += static_cast<double>(shape.first * shape.second);
    }
  }

  void consider(const Moment& moment, RankMemory* memory) const {
    std::vector<MemoryPart> parts = {
        {"weights", states_.weights},   {"gradients of weights", states_.gradients},
        {"optimizer", states_.sharded}, {"dummy gradients", dummies()},
        {"buckets", buckets()},         {"workspaces", workspaces_}};
    parts.insert(parts.end(), moment.parts.begin(), moment.parts.end());
    const double sum = sum_of(parts);
    if (sum <= memory->allocated_bytes) return;
    memory->phase = moment.phase;
    memory->allocated_bytes = sum;
    memory->parts = std::move(parts);
  }

  MemoryContext c_;
  std::vector<std::vector<int64_t>> before_;  // per kind: layers of it before each layer
  std::vector<KindMemory> kinds_;
  double workspaces_ = 0, head_ = 0, output_ = 0;
  Plan known_;  // whose layers kinds_ are
  ScheduleMemo schedules_;
  ScheduleShape shape_;
  bool filled_ = false;
  const Plan* plan_ = nullptr;
  std::vector<int64_t> first_;  // layer of each chunk, and the number of layers
  // Of the stage weighed last:
  HeldParameters held_;
  Activations activations_;
  States states_;
  std::vector<std::pair<int64_t, int64_t>> shapes_;
};

RankMemoryModel::RankMemoryModel(const MemoryContext& context)
    : table_(std::make_unique<Table>(context)) {}
RankMemoryModel::~RankMemoryModel() = default;

RankMemory RankMemoryModel::stage(const Plan& plan, int64_t stage) {
  table_->set(plan);
  return table_->memory(stage);
}

RankMemory RankMemoryModel::fullest(const Plan& plan) {
  table_->set(plan);
  int64_t worst = 0;
  double most = -1;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const double bytes = table_->allocated(stage);
    if (bytes <= most) continue;
    most = bytes;
    worst = stage;
  }
  return table_->memory(worst);
}

double RankMemoryModel::fullest_device_bytes(const Plan& plan) {
  table_->set(plan);
  double most = 0;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    most = std::max(most, table_->allocated(stage));
  }
  return table_->device_bytes(most);
}

RankMemory rank_memory(const MemoryContext& context, const Plan& plan) {
  return RankMemoryModel(context).fullest(plan);
}

}  // namespace shardwright
