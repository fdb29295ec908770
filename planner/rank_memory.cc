#include "planner/rank_memory.h"

#include <algorithm>
#include <set>

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kHalf = 2;  // bytes of a 16-bit element

// Parameters that a rank of one stage holds: experts have replicas of their own.
struct HeldParameters {
  double dense = 0, experts = 0;
  double largest_layer = 0;
  double distinct = 0;  // one of every weight shape
  double head = 0;      // of the output projection
  double all() const { return dense + experts; }
};

std::vector<ChunkShape> chunks_of(const Plan& plan, int64_t stage) {
  std::vector<ChunkShape> chunks;
  for (int64_t v = 0; v < plan.virtual_stages; ++v) {
    chunks.push_back(chunk_shape(plan, chunk_of_stage(plan, stage, v)));
  }
  return chunks;
}

double embedding_parameters(const ModelSpec& model, const ChunkShape& chunk) {
  const auto hidden = static_cast<double>(model.hidden);
  const auto table = static_cast<double>(padded_vocab_share(model, chunk.tp)) * hidden;
  double count = 0;
  if (chunk.embedding) {
    count += table;
    if (model.position == Position::kLearned) {
      count += static_cast<double>(model.max_positions) * hidden;
    }
  }
  // A tied head on another stage than the embedding holds a copy of the table.
  if (chunk.head && !(model.tied_embeddings && chunk.embedding)) count += table;
  return count;
}

HeldParameters parameters_of(const ModelSpec& model, const std::vector<ChunkShape>& chunks) {
  HeldParameters held;
  std::set<std::pair<int64_t, int64_t>> shapes;
  for (const ChunkShape& chunk : chunks) {
    held.dense += embedding_parameters(model, chunk);
    if (chunk.head) {
      held.head = static_cast<double>(padded_vocab_share(model, chunk.tp)) *
                  static_cast<double>(model.hidden);
    }
    for (int64_t i = 0; i < chunk.num_layers; ++i) {
      double layer = 0;
      for (const HeldWeight& w : held_weights(model, chunk, chunk.first_layer + i)) {
        const auto elements = static_cast<double>(w.elements());
        (w.expert ? held.experts : held.dense) += elements;
        layer += elements;
        if (shapes.insert({w.rows, w.cols}).second) {
          held.distinct += static_cast<double>(w.rows * w.cols);
        }
      }
      held.largest_layer = std::max(held.largest_layer, layer);
    }
  }
  return held;
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
  double unsharded = 0, sharded = 0, gathered = 0, step = 0;
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
    states.unsharded += count * (weights + gradients);
    states.sharded += count * sharded / (plan.zero >= 1 ? shard : 1);
    states.step += count * stack.step_copies / (plan.zero >= 1 ? shard : 1);
  }
  if (storage_of(plan.precision) != plan.precision) {
    states.unsharded += (held.all() - held.head) * stack.fp8_copies;
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

Activations activations_of(const MemoryContext& c, const Plan& plan, int64_t stage,
                           const std::vector<ChunkShape>& chunks) {
  Activations out;
  for (size_t v = 0; v < chunks.size(); ++v) {
    const ChunkShape& chunk = chunks[v];
    double kept = 0;
    for (int64_t i = 0; i < chunk.num_layers; ++i) {
      const int64_t layer = chunk.first_layer + i;
      kept += total_bytes(kept_of_layer(c, chunk, layer, false));
      out.backward = std::max(out.backward, backward_bytes(c, chunk, layer));
      if (!chunk.recompute && chunk.recompute_modules == 0) continue;
      const double rebuilt = total_bytes(kept_of_layer(c, chunk, layer, true)) -
                             total_bytes(kept_of_layer(c, chunk, layer, false));
      out.recompute = std::max(out.recompute, rebuilt);
    }
    if (c.stack.stage_output > 0 && !chunk.head) {
      kept += c.stack.stage_output * kHalf * static_cast<double>(chunk.tokens() * c.model.hidden);
    }
    const auto held = static_cast<double>(chunk_in_flight(plan, stage, static_cast<int64_t>(v)));
    out.kept += held * kept * (1 - plan.activation_offload);
    if (chunk.head) out.head = total_bytes(head_tensors(c, chunk));
  }
  return out;
}

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

RankMemory fullest(const MemoryStack& stack, int64_t stage, const std::vector<MemoryPart>& always,
                   const std::vector<Moment>& moments) {
  RankMemory memory;
  for (const Moment& moment : moments) {
    const double sum = sum_of(always) + sum_of(moment.parts);
    if (sum <= memory.allocated_bytes) continue;
    memory.stage = stage;
    memory.phase = moment.phase;
    memory.allocated_bytes = sum;
    memory.parts = always;
    memory.parts.insert(memory.parts.end(), moment.parts.begin(), moment.parts.end());
  }
  memory.reserved_bytes = memory.allocated_bytes * stack.slack;
  memory.device_bytes = memory.reserved_bytes + kGib * stack.context_gib;
  return memory;
}

RankMemory stage_memory(const MemoryContext& c, const Plan& plan, int64_t stage) {
  const std::vector<ChunkShape> chunks = chunks_of(plan, stage);
  const HeldParameters held = parameters_of(c.model, chunks);
  const States states = states_of(c.stack, plan, held);
  const Activations act = activations_of(c, plan, stage, chunks);
  const std::vector<MemoryPart> always = {
      {"weights and gradients", states.unsharded},
      {"optimizer", states.sharded},
      {"dummy gradients", c.stack.dummy_gradients * held.distinct},
      {"buckets", 2 * kHalf * std::min(held.all(), c.stack.bucket_elements)},
      {"workspaces", workspaces(c)}};
  const MemoryPart kept = {"activations", act.kept}, whole = {"gathered weights", states.gathered};
  return fullest(c.stack, stage, always,
                 {{"backward of the loss", {kept, whole, {"logits and loss", act.head}}},
                  {"backward of a layer",
                   {kept, whole, {"recomputed", act.recompute}, {"gradients", act.backward}}},
                  {"optimizer step", {{"copies of the shard", states.step}}}});
}

}  // namespace

int64_t chunk_in_flight(const Plan& plan, int64_t stage, int64_t chunk) {
  const int64_t v = plan.virtual_stages, pp = plan.pp, microbatches = plan.microbatches();
  if (plan.schedule == ScheduleKind::kGPipe) return microbatches;
  if (v == 1) return std::min(microbatches, pp - stage);
  // Forwards before the first backward (arXiv 2104.04473, interleaved), in rounds of pp
  // microbatches per chunk.
  const int64_t forwards = std::min(microbatches * v, 2 * (pp - stage - 1) + (v - 1) * pp + 1);
  const int64_t round = pp * v;
  const int64_t rest = forwards % round - chunk * pp;
  return forwards / round * pp + std::clamp<int64_t>(rest, 0, pp);
}

RankMemory rank_memory(const MemoryContext& context, const Plan& plan) {
  RankMemory worst;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    RankMemory memory = stage_memory(context, plan, stage);
    if (memory.allocated_bytes > worst.allocated_bytes) worst = std::move(memory);
  }
  return worst;
}

}  // namespace shardwright
