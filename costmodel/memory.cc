#include "costmodel/memory.h"

#include <algorithm>
#include <array>

#include "costmodel/layer_steps.h"
#include "costmodel/parameters.h"

namespace shardwright {
namespace {

constexpr Bytes kFp32 = 4;

class SavedList {
 public:
  explicit SavedList(DataType type) : size_(size_of(type)) {}
  void add(Saved name, int64_t layer, int64_t elements) {
    if (elements > 0) tensors_.push_back({name, layer, elements, elements * size_});
  }
  void add_fp32(Saved name, int64_t layer, int64_t elements) {
    tensors_.push_back({name, layer, elements, elements * kFp32});
  }
  std::vector<SavedTensor> take() { return std::move(tensors_); }

 private:
  Bytes size_;
  std::vector<SavedTensor> tensors_;
};

void add_layer(const ModelSpec& model, const ChunkShape& chunk, int64_t index, SavedList* list) {
  const LayerShape s(model, chunk, model.layer(index));
  // Each operation's output is an input of the backward.
  for (const ListedOp& op : s.layer.ops) {
    list->add(Saved::kUp, index, op.rows * op.out * s.micro_batch);
  }
  if (!s.layer.ops.empty()) return;
  const AttentionSpec& a = s.layer.attention;
  const int64_t T = s.tokens;
  list->add(Saved::kNorm1, index, T * s.hidden);
  list->add_fp32(Saved::kStats1, index, T * 2);
  const int64_t qkv =
      a.mla() ? s.latent_width + s.latent_q_out + a.heads / s.tp * (a.head_dim + a.v_head_dim)
              : s.qkv_out;
  list->add(Saved::kQkv, index, T * qkv);
  list->add(Saved::kContext, index, T * s.context);
  list->add_fp32(Saved::kLse, index, T * a.heads / s.tp);
  list->add(Saved::kMiddle, index, T * s.hidden);
  list->add(Saved::kNorm2, index, T * s.hidden);
  list->add_fp32(Saved::kStats2, index, T * 2);
  list->add(Saved::kUp, index, T * s.dense_up);
  list->add(Saved::kActivated, index, T * s.dense_ffn);
  const int64_t copies = s.experts * s.expert_rows;
  list->add(Saved::kExperts, index, copies * (2 * s.hidden + s.expert_up + s.expert_ffn));
}

void add_head(const ModelSpec& model, const ChunkShape& chunk, SavedList* list) {
  if (model.layer_list()) return;
  const int64_t T = chunk.tokens();
  list->add(Saved::kHeadInput, -1, T * model.hidden);
  list->add(Saved::kFinalNorm, -1, T * model.hidden);
  list->add_fp32(Saved::kFinalStats, -1, T * 2);
  list->add(Saved::kLogits, -1, T * padded_vocab_share(model, chunk.tp));
  list->add_fp32(Saved::kLossLse, -1, T);
}

template <typename Tensors>
Bytes total_bytes(const Tensors& tensors) {
  Bytes sum = 0;
  for (const auto& tensor : tensors) sum += tensor.bytes;
  return sum;
}

// The widest layer of the chunk decides the scratch.
struct Widths {
  int64_t up = 0, ffn = 0, qkv = 0, context = 0;
};
Widths widest(const ModelSpec& model, const ChunkShape& chunk) {
  Widths w;
  for (int64_t i = 0; i < chunk.num_layers; ++i) {
    const LayerShape s(model, chunk, model.layer(chunk.first_layer + i));
    const int64_t factor = s.experts > 0 ? s.experts * s.expert_rows : 0;
    const int64_t T = s.tokens;
    w.up = std::max({w.up, s.dense_up, ceil_div(factor * s.expert_up, T)});
    w.ffn = std::max({w.ffn, s.dense_ffn, ceil_div(factor * s.expert_ffn, T)});
    w.qkv = std::max({w.qkv, s.qkv_out, s.latent_width + s.latent_q_out + s.latent_kv_out});
    w.context = std::max(w.context, s.context);
  }
  return w;
}

}  // namespace

std::vector<SavedTensor> saved_tensors(const ModelSpec& model, const ChunkShape& chunk) {
  SavedList list(storage_of(chunk.type));
  for (int64_t i = 0; i < chunk.num_layers; ++i) {
    const int64_t layer = chunk.first_layer + i;
    if (i > 0 || chunk.embedding) list.add(Saved::kInput, layer, chunk.tokens() * model.hidden);
    if (!chunk.recompute) add_layer(model, chunk, layer, &list);
  }
  if (chunk.head) add_head(model, chunk, &list);
  return list.take();
}

std::vector<SavedTensor> layer_tensors(const ModelSpec& model, const ChunkShape& chunk,
                                       int64_t layer) {
  SavedList list(storage_of(chunk.type));
  add_layer(model, chunk, layer, &list);
  return list.take();
}

std::vector<ScratchTensor> scratch_tensors(const ModelSpec& model, const ChunkShape& chunk) {
  const Widths w = widest(model, chunk);
  const int64_t T = chunk.tokens(), h = model.hidden;
  std::vector<ScratchTensor> list;
  const auto add = [&](Scratch name, int64_t elements, Bytes size) {
    list.push_back({name, elements, elements * size});
  };
  const Bytes size = size_of(storage_of(chunk.type));
  add(Scratch::kPartial, T * h, size);
  add(Scratch::kGradStream, T * h, size);
  add(Scratch::kGradMiddle, T * h, size);
  add(Scratch::kGradNorm, T * h, size);
  add(Scratch::kGradUp, T * w.up, size);
  add(Scratch::kGradActivated, T * w.ffn, size);
  add(Scratch::kGradQkv, T * w.qkv, size);
  add(Scratch::kGradContext, T * w.context, size);
  if (chunk.head) {
    add(Scratch::kLossParts, T * 3, kFp32);
    if (chunk.tp > 1) add(Scratch::kLossPartsAll, chunk.tp * T * 3, kFp32);
  }
  return list;
}

const char* name_of(OptimizerKind kind) { return kind == OptimizerKind::kAdamW ? "adamw" : "sgd"; }

ChunkMemory chunk_memory(const ModelSpec& model, const ChunkShape& chunk, OptimizerKind optimizer) {
  const int64_t count = local_parameters(model, chunk);
  ChunkMemory memory;
  memory.parameters = count * size_of(storage_of(chunk.type));
  memory.gradients = count * kFp32;
  const Bytes moments = optimizer == OptimizerKind::kAdamW ? 2 * kFp32 : 0;
  const Bytes master = chunk.type == DataType::kFp32 ? 0 : kFp32;
  memory.optimizer = count * (moments + master);
  memory.scratch = total_bytes(scratch_tensors(model, chunk));
  if (chunk.recompute && chunk.num_layers > 0) {
    Bytes largest = 0;
    for (int64_t i = 0; i < chunk.num_layers; ++i) {
      largest = std::max(largest, total_bytes(layer_tensors(model, chunk, chunk.first_layer + i)));
    }
    memory.scratch += largest;
  }
  memory.saved = total_bytes(saved_tensors(model, chunk));
  memory.message = chunk.tokens() * model.hidden * size_of(storage_of(chunk.type));
  memory.tokens = chunk.tokens() * 2 * 4;
  return memory;
}

}  // namespace shardwright
