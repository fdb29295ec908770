#include "costmodel/memory.h"

#include <algorithm>
#include <map>
#include <set>

#include "costmodel/layer_steps.h"
#include "costmodel/parameters.h"

namespace shardwright {
namespace {

constexpr Bytes kFp32 = 4;

// Whether a whole layer is computed again.
bool again(const ChunkShape& chunk, int64_t layer) {
  const int64_t place = layer - chunk.first_layer;
  return chunk.recompute && (chunk.recompute_layers == 0 || place < chunk.recompute_layers);
}

// The part of a layer whose recomputation makes the tensor anew, when the layer as a whole is not.
uint32_t module_of(Saved name, const LayerSpec& layer) {
  const bool moe = layer.moe.experts > 0;
  switch (name) {
    case Saved::kNorm1:
    case Saved::kNorm2:
      return kRecomputeNorms;
    case Saved::kContext:
    case Saved::kLse:
      return kRecomputeCoreAttention;
    case Saved::kQkv:
      return layer.attention.mla() ? uint32_t{kRecomputeLatentUp} : 0U;
    case Saved::kUp:
    case Saved::kActivated:
      return moe ? kRecomputeSharedExperts : kRecomputeMlp;
    case Saved::kExperts:
    case Saved::kExpertOperands:
      return kRecomputeMoe;
    default:
      return 0;
  }
}

// Collects the tensors of one lifetime.
class SavedList {
 public:
  SavedList(const ModelSpec& model, const ChunkShape& chunk, Kept kept)
      : model_(model), chunk_(chunk), kept_(kept), size_(size_of(storage_of(chunk.type))) {}

  // Needed by the gradients of inputs alone.
  void add(Saved name, int64_t layer, int64_t elements, Bytes size = 0) {
    const bool wanted = kept_ == Kept::kAll || kept_ == Kept::kForInput;
    if (wanted && !dropped(name, layer)) push(name, layer, elements, size);
  }
  // The input of a product: needed by the gradient of its weight.
  void add_operand(Saved name, int64_t layer, int64_t elements) {
    const bool gone = dropped(name, layer);
    const bool wanted =
        gone ? kept_ == Kept::kDeferred : kept_ == Kept::kAll || kept_ == Kept::kOperands;
    if (wanted) push(name, layer, elements, 0);
  }
  // The gradient of a product's output.
  void add_grad(Saved name, int64_t layer, int64_t elements) {
    if (kept_ == Kept::kDeferred) push(name, layer, elements, 0);
  }
  // A whole layer is listed as if nothing of it were computed again.
  void keep_all() { keeps_all_ = true; }
  std::vector<SavedTensor> take() { return std::move(tensors_); }

 private:
  bool dropped(Saved name, int64_t layer) const {
    if (keeps_all_ || layer < 0 || name == Saved::kInput) return false;
    if (chunk_.recompute_modules == 0) return again(chunk_, layer);
    return (chunk_.recompute_modules & module_of(name, model_.layer(layer))) != 0;
  }
  void push(Saved name, int64_t layer, int64_t elements, Bytes size) {
    if (elements <= 0) return;
    tensors_.push_back({name, layer, elements, elements * (size == 0 ? size_ : size)});
  }

  const ModelSpec& model_;
  const ChunkShape& chunk_;
  Kept kept_;
  Bytes size_;
  bool keeps_all_ = false;
  std::vector<SavedTensor> tensors_;
};

void add_attention(const LayerShape& s, int64_t index, SavedList* list) {
  const AttentionSpec& a = s.layer.attention;
  const int64_t T = s.tokens, h = s.hidden;
  list->add_operand(Saved::kNorm1, index, s.stream * h);
  list->add(Saved::kStats1, index, s.stream * 2, kFp32);
  list->add_operand(Saved::kLatent, index, a.mla() ? T * s.latent_width : 0);
  const int64_t heads = s.latent_q_out + a.heads / s.tp * (a.head_dim + a.v_head_dim);
  list->add(Saved::kQkv, index, T * (a.mla() ? heads : s.qkv_out));
  list->add_operand(Saved::kContext, index, T * s.context);
  list->add(Saved::kLse, index, T * a.heads / s.tp, kFp32);
  list->add(Saved::kMiddle, index, s.stream * h);
  list->add_grad(Saved::kGradQkv, index,
                 T * (a.mla() ? s.latent_width + s.latent_q_out + s.latent_kv_out : s.qkv_out));
  list->add_grad(Saved::kGradMiddle, index, T * h);
}

void add_mlp(const LayerShape& s, int64_t index, SavedList* list) {
  const int64_t T = s.tokens, copies = s.experts > 0 ? s.experts * s.expert_rows : 0;
  list->add_operand(Saved::kNorm2, index, s.stream * s.hidden);
  list->add(Saved::kStats2, index, s.stream * 2, kFp32);
  list->add(Saved::kUp, index, T * s.dense_up);
  list->add_operand(Saved::kActivated, index, T * s.dense_ffn);
  list->add(Saved::kExperts, index, copies * (s.hidden + s.expert_up));
  list->add_operand(Saved::kExpertOperands, index, copies * (s.hidden + s.expert_ffn));
  list->add_grad(Saved::kGradUp, index, T * s.dense_up);
  list->add_grad(Saved::kGradExperts, index, copies * (s.hidden + s.expert_up));
}

void add_layer(const ModelSpec& model, const ChunkShape& chunk, int64_t index, SavedList* list) {
  const LayerShape s(model, chunk, model.layer(index));
  // Each operation's output is an input of the backward.
  for (const ListedOp& op : s.layer.ops) {
    list->add_operand(Saved::kUp, index, op.rows * op.out * s.micro_batch);
    list->add_grad(Saved::kGradUp, index, op.rows * op.out * s.micro_batch);
  }
  if (!s.layer.ops.empty()) return;
  add_attention(s, index, list);
  add_mlp(s, index, list);
  const bool last = index + 1 == chunk.first_layer + chunk.num_layers;
  if (!last || chunk.head) list->add_grad(Saved::kGradOutput, index, s.tokens * s.hidden);
}

void add_head(const ModelSpec& model, const ChunkShape& chunk, SavedList* list) {
  if (model.layer_list()) return;
  const int64_t T = chunk.tokens();
  // Of the head alone the input is the received message.
  const bool made_here = chunk.num_layers > 0 || chunk.embedding;
  list->add(Saved::kHeadInput, -1, made_here ? T * model.hidden : 0);
  list->add_operand(Saved::kFinalNorm, -1, T * model.hidden);
  list->add(Saved::kFinalStats, -1, T * 2, kFp32);
  // The gradient takes the place of the logits.
  list->add_operand(Saved::kLogits, -1, T * padded_vocab_share(model, chunk.tp));
  list->add(Saved::kLossLse, -1, T, kFp32);
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

std::vector<SavedTensor> saved_tensors(const ModelSpec& model, const ChunkShape& chunk, Kept kept) {
  SavedList list(model, chunk, kept);
  if (chunk.embedding && chunk.num_layers > 0) {
    list.add_grad(Saved::kGradInput, -1, chunk.tokens() * model.hidden);
  }
  const int64_t parts = chunk.split.sequence_parallel ? chunk.tp : 1;
  for (int64_t i = 0; i < chunk.num_layers; ++i) {
    const int64_t layer = chunk.first_layer + i;
    if (i > 0 || chunk.embedding) {
      list.add(Saved::kInput, layer, chunk.tokens() * model.hidden / parts);
    }
    add_layer(model, chunk, layer, &list);
  }
  if (chunk.head) add_head(model, chunk, &list);
  return list.take();
}

std::vector<SavedTensor> layer_tensors(const ModelSpec& model, const ChunkShape& chunk,
                                       int64_t layer) {
  SavedList list(model, chunk, Kept::kAll);
  list.keep_all();
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

std::vector<ScratchTensor> scratch_tensors(const ModelSpec& model,
                                           const std::vector<ChunkShape>& chunks) {
  std::map<Scratch, ScratchTensor> largest;
  for (const ChunkShape& chunk : chunks) {
    for (const ScratchTensor& tensor : scratch_tensors(model, chunk)) {
      ScratchTensor& room = largest[tensor.name];
      if (tensor.bytes >= room.bytes) room = tensor;
    }
  }
  std::vector<ScratchTensor> list;
  for (const auto& [name, tensor] : largest) list.push_back(tensor);
  return list;
}

std::vector<SavedTensor> rebuilt_tensors(const ModelSpec& model,
                                         const std::vector<ChunkShape>& chunks) {
  std::vector<SavedTensor> largest;
  for (const ChunkShape& chunk : chunks) {
    std::set<int> kinds;  // layers of one kind are alike
    for (int64_t i = 0; i < chunk.num_layers && chunk.recompute; ++i) {
      const int64_t layer = chunk.first_layer + i;
      if (!again(chunk, layer) || !kinds.insert(model.layer_kind.at(layer)).second) continue;
      std::vector<SavedTensor> tensors = layer_tensors(model, chunk, layer);
      if (total_bytes(tensors) > total_bytes(largest)) largest = std::move(tensors);
    }
  }
  return largest;
}

Bytes scratch_bytes(const ModelSpec& model, const std::vector<ChunkShape>& chunks) {
  return total_bytes(scratch_tensors(model, chunks)) + total_bytes(rebuilt_tensors(model, chunks));
}

ActivationBytes activation_bytes(const ModelSpec& model, const ChunkShape& chunk,
                                 bool split_backward) {
  const auto bytes = [&](Kept kept) { return total_bytes(saved_tensors(model, chunk, kept)); };
  ActivationBytes out;
  out.saved = bytes(split_backward ? Kept::kForInput : Kept::kAll);
  if (split_backward) {
    out.operands = bytes(Kept::kOperands);
    out.deferred = bytes(Kept::kDeferred);
  }
  const int64_t parts = chunk.split.sequence_parallel ? chunk.tp : 1;
  out.message = chunk.tokens() * model.hidden * size_of(storage_of(chunk.type)) / parts;
  out.tokens = chunk.tokens() * 2 * 4;
  return out;
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
  memory.scratch = scratch_bytes(model, {chunk});
  const ActivationBytes activations = activation_bytes(model, chunk, false);
  memory.saved = activations.saved;
  memory.message = activations.message;
  memory.tokens = activations.tokens;
  return memory;
}

}  // namespace shardwright
