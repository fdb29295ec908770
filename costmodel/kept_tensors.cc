#include "costmodel/kept_tensors.h"

#include <algorithm>

namespace shardwright {
namespace {

constexpr double kHalf = 2;  // bytes of a 16-bit element

// Sizes of one layer on one rank, in elements per token of the microbatch; tensors that tp does not
// split are whole without sequence parallelism.
struct Widths {
  Widths(const MemoryContext& c, const ChunkShape& chunk, const LayerSpec& layer)
      : a(layer.attention),
        tp(static_cast<double>(chunk.tp)),
        unsplit(chunk.split.sequence_parallel ? tp : 1),
        tokens(static_cast<double>(chunk.tokens())),
        hidden(static_cast<double>(c.model.hidden) / unsplit) {
    const auto moe = layer.moe;
    q = static_cast<double>(a.q_width()) / tp;
    k = static_cast<double>(std::max(a.kv_heads, chunk.tp) * a.head_dim) / tp;
    v = static_cast<double>(std::max(a.kv_heads, chunk.tp) * a.v_head_dim) / tp;
    out = static_cast<double>(a.out_width()) / tp;
    scores = static_cast<double>(a.heads * chunk.seq) / tp;
    gated = moe.experts > 0 || layer.mlp.gated;
    quantised = storage_of(chunk.type) != chunk.type;
    input = quantised ? c.stack.fp8_input : kHalf;
    dense =
        static_cast<double>(moe.experts > 0 ? moe.shared_ffn_hidden : layer.mlp.ffn_hidden) / tp;
    copies = moe.experts > 0 ? static_cast<double>(moe.top_k) : 0;
    experts = static_cast<double>(moe.experts) / unsplit;
    const auto etp = static_cast<double>(chunk.split.expert_tp(chunk.tp));
    expert_in = copies * static_cast<double>(c.model.hidden) * etp / tp;
    expert = copies * static_cast<double>(moe.ffn_hidden) / tp;
  }
  const AttentionSpec& a;
  double tp, unsplit, tokens, hidden;
  double q, k, v, out, scores;
  double dense, copies, experts, expert_in, expert;
  double input = kHalf;  // bytes per element that a product keeps of its input
  bool gated = false, quantised = false;
};

class List {
 public:
  List(double tokens, uint32_t recomputed) : tokens_(tokens), recomputed_(recomputed) {}
  // Skipped when the backward computes `module` again.
  void add(const char* name, double bytes_per_token, uint32_t module = 0) {
    if (bytes_per_token > 0 && (module & recomputed_) == 0) {
      tensors_.push_back({name, bytes_per_token * tokens_});
    }
  }
  std::vector<KeptTensor> take() { return std::move(tensors_); }

 private:
  double tokens_;
  uint32_t recomputed_;
  std::vector<KeptTensor> tensors_;
};

// The output is the input of a product.
double norm_bytes(const MemoryContext& c, const Widths& w) {
  return (c.kernels.norm_kernel ? c.stack.norm_kernel : c.stack.norm) - kHalf + w.input;
}

void add_latent_attention(const MemoryContext& c, const Widths& w, List* list) {
  const double q_low = static_cast<double>(w.a.q_lora_rank) / w.unsplit;
  const double kv_low = static_cast<double>(w.a.kv_lora_rank) / w.unsplit;
  // Each low-rank vector and its norm's output.
  list->add("latents", (q_low + kv_low) * (kHalf + norm_bytes(c, w)));
  list->add("queries", kHalf * w.q, kRecomputeLatentUp);
  list->add("keys", kHalf * static_cast<double>(w.a.heads * w.a.head_dim) / w.tp,
            kRecomputeLatentUp);
  list->add("values", kHalf * w.out, kRecomputeLatentUp);
}

void add_attention(const MemoryContext& c, const ChunkShape& chunk, const Widths& w, List* list) {
  if (w.a.mla()) {
    add_latent_attention(c, w, list);
  } else {
    list->add("qkv", kHalf * (w.q + w.k + w.v));
    list->add("rotated", c.stack.rotated * (w.q + w.k));
  }
  if (c.kernels.flash) {
    list->add("softmax statistics", 4 * static_cast<double>(w.a.heads) / w.tp);
  } else {
    list->add("scores", c.stack.scores * w.scores, kRecomputeCoreAttention);
  }
  // Exchanged heads: the output before and after the exchange back.
  const bool exchanged = chunk.split.cp > 1 && chunk.split.cp_kind == CpKind::kAllToAll;
  list->add("context", kHalf * w.out * (exchanged ? 2 : 1));
  list->add("quantised context", w.quantised ? w.input * w.out : 0);
}

void add_mlp(const MemoryContext& c, const Widths& w, bool moe, List* list) {
  const uint32_t whole = moe ? kRecomputeMoe | kRecomputeSharedExperts : kRecomputeMlp;
  const double up = w.gated ? c.stack.up_gated : c.stack.up_plain;
  list->add("up", up * w.dense, whole);
  const double activated = c.stack.activated - kHalf + w.input;
  list->add("activated", activated * w.dense, moe ? whole | kRecomputeMoeActivation : whole);
  if (!moe) return;
  list->add("router", 13 * w.experts, kRecomputeMoe);  // fp32 logits, scores, weights; a byte map
  list->add("expert inputs", w.input * w.expert_in, kRecomputeMoe);
  list->add("expert up", up * w.expert, kRecomputeMoe);
  list->add("expert activated", activated * w.expert, kRecomputeMoe | kRecomputeMoeActivation);
}

// Every second matrix product, attention's output, and reductions over tp.
std::vector<KeptTensor> kept_by_operation(const Widths& w) {
  List list(w.tokens, 0);
  list.add("input", kHalf * w.hidden);
  list.add("queries", kHalf * w.q);
  list.add("values", kHalf * w.v);
  list.add("context", kHalf * w.out + 4 * static_cast<double>(w.a.heads) / w.tp);
  list.add("up", kHalf * (w.dense + w.expert));
  list.add("expert inputs", kHalf * w.expert_in);
  list.add("output", kHalf * w.hidden * (w.tp > 1 ? 2 : 1));
  return list.take();
}

bool recomputed_whole(const ChunkShape& chunk, int64_t layer) {
  if (!chunk.recompute) return false;
  return chunk.recompute_layers == 0 || layer - chunk.first_layer < chunk.recompute_layers;
}

}  // namespace

double total_bytes(const std::vector<KeptTensor>& tensors) {
  double sum = 0;
  for (const KeptTensor& tensor : tensors) sum += tensor.bytes;
  return sum;
}

std::vector<KeptTensor> kept_of_layer(const MemoryContext& c, const ChunkShape& chunk,
                                      int64_t index, bool everything) {
  const LayerSpec& layer = c.model.layer(index);
  const Widths w(c, chunk, layer);
  const bool by_operation = c.stack.selective_ops > 0 && chunk.recompute_modules != 0;
  if (!everything && !recomputed_whole(chunk, index) && by_operation) return kept_by_operation(w);
  List list(w.tokens, everything ? 0 : chunk.recompute_modules);
  list.add("input", kHalf * w.hidden);
  if (!everything && recomputed_whole(chunk, index)) return list.take();
  const bool one_norm = c.model.parallel_residual;
  list.add("norm 1", norm_bytes(c, w) * w.hidden, kRecomputeNorms);
  add_attention(c, chunk, w, &list);
  list.add("dropout masks", 2 * c.stack.dropout_mask * w.hidden);
  if (!one_norm) {
    list.add("middle", kHalf * w.hidden);
    list.add("norm 2", norm_bytes(c, w) * w.hidden, kRecomputeNorms);
  }
  add_mlp(c, w, layer.moe.experts > 0, &list);
  return list.take();
}

// The gradient of the activation's input stands beside that of the residual stream; the gradient of
// the activation's output took the place of the activation itself. With experts the gradients of
// their outputs, in the order of experts and as exchanged, stand beside these.
double backward_bytes(const MemoryContext& c, const ChunkShape& chunk, int64_t index) {
  const LayerSpec& layer = c.model.layer(index);
  const Widths w(c, chunk, layer);
  const double up = w.gated ? 2 * kHalf : kHalf;
  const double mlp =
      layer.moe.experts > 0 ? up * std::max(w.expert, w.dense) + kHalf * w.expert_in : up * w.dense;
  const double scores = c.kernels.flash ? 0 : 2 * kHalf * w.scores;
  return w.tokens * (kHalf * w.hidden + std::max(mlp, scores));
}

std::vector<KeptTensor> head_tensors(const MemoryContext& c, const ChunkShape& chunk) {
  const auto tp = static_cast<double>(chunk.tp);
  const bool split = chunk.split.sequence_parallel && chunk.tp > 1;
  const double unsplit = split ? tp : 1;
  const auto hidden = static_cast<double>(c.model.hidden);
  const auto share = static_cast<double>(padded_vocab_share(c.model, chunk.tp));
  List list(static_cast<double>(chunk.tokens()), 0);
  list.add("input", kHalf * hidden / unsplit);
  list.add("final norm", kHalf * hidden / unsplit);
  // Sequence parallel: the gathered input, and the gradient's share beside the whole.
  list.add("gathered input", split ? kHalf * hidden * (1 + 1 / tp) : 0);
  list.add("input gradient", kHalf * hidden);
  list.add("logits", (c.kernels.fused_loss ? c.stack.logits_fused : c.stack.logits) * share);
  list.add("gathered logits", c.stack.logits_gathered * share * tp);
  std::vector<KeptTensor> tensors = list.take();
  if (c.stack.dummy_gradients > 0) {
    tensors.push_back({"dummy gradient", c.stack.dummy_gradients * share * hidden});
  }
  return tensors;
}

namespace {

void add_latent_weights(const AttentionSpec& a, int64_t h, int64_t tp,
                        std::vector<HeldWeight>* out) {
  if (a.q_lora_rank > 0) {
    out->push_back({a.q_lora_rank, h});
    out->push_back({a.q_width() / tp, a.q_lora_rank});
  } else {
    out->push_back({a.q_width() / tp, h});
  }
  out->push_back({a.kv_lora_rank + a.qk_rope_head_dim, h});
  out->push_back({a.heads * (a.qk_nope_head_dim + a.v_head_dim) / tp, a.kv_lora_rank});
  out->push_back({1, a.q_lora_rank + a.kv_lora_rank});
}

void add_mlp_weights(int64_t h, int64_t ffn, bool gated, int64_t copies, bool expert,
                     std::vector<HeldWeight>* out) {
  if (ffn == 0) return;
  out->push_back({(gated ? 2 : 1) * ffn, h, copies, expert});
  out->push_back({h, ffn, copies, expert});
}

}  // namespace

std::vector<HeldWeight> held_weights(const ModelSpec& model, const ChunkShape& chunk,
                                     int64_t index) {
  const LayerSpec& layer = model.layer(index);
  const AttentionSpec& a = layer.attention;
  const int64_t h = model.hidden, tp = chunk.tp;
  std::vector<HeldWeight> out;
  if (a.mla()) {
    add_latent_weights(a, h, tp, &out);
  } else {
    out.push_back({(a.q_width() + 2 * std::max(a.kv_heads, tp) * a.head_dim) / tp, h});
  }
  out.push_back({h, a.out_width() / tp});
  out.push_back({layer.norms * (model.norm == Norm::kLayerNorm ? 2 : 1), h});
  if (layer.moe.experts == 0) {
    add_mlp_weights(h, layer.mlp.ffn_hidden / tp, layer.mlp.gated, 1, false, &out);
    return out;
  }
  const int64_t etp = chunk.split.expert_tp(tp);
  add_mlp_weights(h, layer.moe.shared_ffn_hidden / tp, true, 1, false, &out);
  out.push_back({layer.moe.experts, h});
  add_mlp_weights(h, layer.moe.ffn_hidden / etp, true, ceil_div(layer.moe.experts, chunk.split.ep),
                  true, &out);
  return out;
}

}  // namespace shardwright
