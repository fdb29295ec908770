#include "planner/layer_memory.h"

#include <algorithm>

namespace shardwright {
namespace {

constexpr double kHalf = 2;  // bytes of a 16-bit element

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

}  // namespace

LayerMemory layer_memory(const MemoryContext& c, const Plan& plan) {
  Plan whole = plan;
  whole.pp = whole.virtual_stages = 1;
  whole.recompute_layers = 0;
  whole.schedule = ScheduleKind::kOneFOneB;
  whole.stage_layers = {c.model.layers()};
  const ChunkShape shape = chunk_shape(whole, 0);
  LayerMemory out;
  out.kinds.resize(c.model.kinds.size());
  const std::vector<int>& layers = c.model.layer_kind;
  for (size_t kind = 0; kind < out.kinds.size(); ++kind) {
    const auto example = std::find(layers.begin(), layers.end(), static_cast<int>(kind));
    if (example != layers.end()) {
      out.kinds[kind] = kind_memory(c, shape, example - layers.begin());
    }
  }
  out.head = total_bytes(head_tensors(c, shape));
  out.head_table = static_cast<double>(padded_vocab_share(c.model, plan.tp)) *
                   static_cast<double>(c.model.hidden);
  out.output = c.stack.stage_output * kHalf * static_cast<double>(shape.tokens() * c.model.hidden);
  return out;
}

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

}  // namespace shardwright
