#include "costmodel/parameters.h"

#include <algorithm>
#include <map>

#include "costmodel/check.h"

namespace shardwright {
namespace {

// Column-parallel weights are split by rows (outputs), row-parallel ones by columns (inputs), the
// vocabulary by rows; everything else is replicated over tp.
class Lister {
 public:
  Lister(const ModelSpec& model, const ChunkShape& chunk, int64_t tp_index)
      : model_(model), chunk_(chunk), tp_(chunk.tp), index_(tp_index) {}

  std::vector<ParameterTensor> list() {
    if (chunk_.embedding && !model_.layer_list()) embedding();
    for (int64_t i = 0; i < chunk_.num_layers; ++i) layer(chunk_.first_layer + i);
    if (chunk_.head && !model_.layer_list()) head();
    return std::move(tensors_);
  }

 private:
  ParameterPart vector_part(const std::string& name, int64_t n) {
    return {
        .name = name, .global_rows = 1, .global_cols = n, .rows = 1, .cols = n, .replicated = true};
  }
  ParameterPart split_vector(const std::string& name, int64_t n) {
    ParameterPart part = vector_part(name, n);
    part.cols = n / tp_;
    part.col0 = index_ * part.cols;
    part.replicated = tp_ == 1;
    return part;
  }
  ParameterPart by_rows(const std::string& name, int64_t rows, int64_t cols) {
    return {.name = name,
            .global_rows = rows,
            .global_cols = cols,
            .row0 = index_ * (rows / tp_),
            .rows = rows / tp_,
            .cols = cols,
            .decays = true};
  }
  ParameterPart by_columns(const std::string& name, int64_t rows, int64_t cols) {
    return {.name = name,
            .global_rows = rows,
            .global_cols = cols,
            .rows = rows,
            .col0 = index_ * (cols / tp_),
            .cols = cols / tp_,
            .decays = true};
  }
  ParameterPart whole(const std::string& name, int64_t rows, int64_t cols) {
    return {.name = name,
            .global_rows = rows,
            .global_cols = cols,
            .rows = rows,
            .cols = cols,
            .replicated = true,
            .decays = true};
  }
  void add(std::string slot, std::vector<ParameterPart> parts) {
    tensors_.push_back({std::move(slot), std::move(parts)});
  }
  void norm(const std::string& name, int64_t n) {
    add(name + ".weight", {vector_part(name + ".weight", n)});
    if (model_.norm == Norm::kLayerNorm) add(name + ".bias", {vector_part(name + ".bias", n)});
  }
  // `copies` equal tensors of `elements` on this rank; split over tp, or the same on every rank.
  void cost_only(const std::string& name, int64_t elements, bool split = false,
                 int64_t copies = 1) {
    ParameterPart part = vector_part(name, elements);
    part.copies = copies;
    part.replicated = !split || tp_ == 1;
    part.executable = false;
    if (elements > 0) add(name, {part});
  }

  ParameterPart table(const std::string& name) {
    const int64_t share = padded_vocab_share(model_, tp_);
    return {.name = name,
            .global_rows = model_.vocab,
            .global_cols = model_.hidden,
            .row0 = index_ * share,
            .rows = share,
            .cols = model_.hidden,
            .decays = true};
  }
  void embedding() {
    add("embedding.tokens", {table("embedding.tokens")});
    if (model_.position == Position::kLearned) {
      add("embedding.positions",
          {whole("embedding.positions", model_.max_positions, model_.hidden)});
    }
  }
  void head() {
    norm("final_norm", model_.hidden);
    if (!model_.tied_embeddings) {
      add("head.weight", {table("head.weight")});
    } else if (!chunk_.embedding) {
      ParameterPart copy = table("embedding.tokens");
      copy.tied_copy = true;
      add("head.weight", {copy});
    }
    if (model_.head_bias) cost_only("head.bias", padded_vocab_share(model_, tp_), true);
  }

  void layer(int64_t index) {
    prefix_ = "layers." + std::to_string(index) + ".";
    const LayerSpec& layer = model_.layer(index);
    for (const ListedOp& op : layer.ops) cost_only(prefix_ + op.name, op.parameters());
    if (!layer.ops.empty()) return;
    norm(prefix_ + "norm1", model_.hidden);
    layer.attention.mla() ? latent_attention(layer.attention) : attention(layer.attention);
    if (layer.norms >= 2) norm(prefix_ + "norm2", model_.hidden);
    for (int i = 2; i < layer.norms; ++i) {
      cost_only(prefix_ + "post_norm" + std::to_string(i - 1), model_.hidden);
    }
    if (layer.moe.experts > 0) experts(layer.moe);
    if (layer.moe.experts == 0) dense(layer.mlp);
  }

  void attention(const AttentionSpec& a) {
    const std::string at = prefix_ + "attention.";
    const int64_t h = model_.hidden;
    add(prefix_ + "qkv.weight",
        {by_rows(at + "q.weight", a.q_width(), h), by_rows(at + "k.weight", a.kv_width(), h),
         by_rows(at + "v.weight", a.kv_width(), h)});
    if (a.qkv_bias) {
      add(prefix_ + "qkv.bias",
          {split_vector(at + "q.bias", a.q_width()), split_vector(at + "k.bias", a.kv_width()),
           split_vector(at + "v.bias", a.kv_width())});
    }
    if (a.qk_norm) cost_only(at + "qk_norm", 2 * a.head_dim);
    if (a.sinks) cost_only(at + "sinks", a.heads / tp_, true);
    attention_out(a);
  }
  void attention_out(const AttentionSpec& a) {
    const std::string at = prefix_ + "attention.";
    add(at + "out.weight", {by_columns(at + "out.weight", model_.hidden, a.out_width())});
    if (a.out_bias) add(at + "out.bias", {vector_part(at + "out.bias", model_.hidden)});
  }
  void latent_attention(const AttentionSpec& a) {
    const std::string at = prefix_ + "attention.";
    const int64_t q_in = a.q_lora_rank > 0 ? a.q_lora_rank : model_.hidden;
    if (a.q_lora_rank > 0) {
      cost_only(at + "q_down", a.q_lora_rank * model_.hidden + a.q_lora_rank);
    }
    cost_only(at + "q_up", a.q_width() / tp_ * q_in, true);
    cost_only(at + "kv_down",
              (a.kv_lora_rank + a.qk_rope_head_dim) * model_.hidden + a.kv_lora_rank);
    if (a.qkv_bias) {
      cost_only(at + "down.bias", a.q_lora_rank + a.kv_lora_rank + a.qk_rope_head_dim);
    }
    cost_only(at + "kv_up", a.heads / tp_ * (a.qk_nope_head_dim + a.v_head_dim) * a.kv_lora_rank,
              true);
    attention_out(a);
  }

  void dense(const MlpSpec& mlp) {
    const std::string at = prefix_ + "mlp.";
    const int64_t h = model_.hidden, f = mlp.ffn_hidden;
    std::vector<ParameterPart> up;
    if (mlp.gated) up.push_back(by_rows(at + "gate.weight", f, h));
    up.push_back(by_rows(at + "up.weight", f, h));
    add(at + "up.weight", std::move(up));
    if (mlp.bias) add(at + "up.bias", {split_vector(at + "up.bias", f)});
    add(at + "down.weight", {by_columns(at + "down.weight", h, f)});
    if (mlp.bias) add(at + "down.bias", {vector_part(at + "down.bias", h)});
  }

  void experts(const MoeSpec& moe) {
    const std::string at = prefix_ + "moe.";
    const int64_t h = model_.hidden, f = moe.ffn_hidden / tp_;
    cost_only(at + "router", moe.experts * h + (moe.router_bias ? moe.experts : 0) +
                                 (moe.score_correction ? moe.experts : 0));
    cost_only(at + "experts", 3 * f * h + (moe.expert_bias ? 2 * f : 0), true, moe.experts);
    if (moe.expert_bias) cost_only(at + "experts.out_bias", h, false, moe.experts);
    cost_only(at + "shared", 3 * (moe.shared_ffn_hidden / tp_) * h, true);
  }

  const ModelSpec& model_;
  const ChunkShape& chunk_;
  const int64_t tp_, index_;
  std::string prefix_;
  std::vector<ParameterTensor> tensors_;
};

}  // namespace

int64_t ParameterTensor::elements() const {
  int64_t sum = 0;
  for (const ParameterPart& part : parts) sum += part.elements();
  return sum;
}

std::vector<ParameterTensor> chunk_parameters(const ModelSpec& model, const ChunkShape& chunk,
                                              int64_t tp_index) {
  SW_CHECK(tp_index >= 0 && tp_index < chunk.tp, "tp index " << tp_index << " of " << chunk.tp);
  return Lister(model, chunk, tp_index).list();
}

int64_t local_parameters(const ModelSpec& model, const ChunkShape& chunk) {
  int64_t sum = 0;
  for (const ParameterTensor& tensor : chunk_parameters(model, chunk, 0)) sum += tensor.elements();
  return sum;
}

namespace {

// Elements of the routed experts of one layer on this rank.
int64_t expert_elements(const ModelSpec& model, const ChunkShape& chunk, const LayerSpec& layer) {
  const MoeSpec& moe = layer.moe;
  const int64_t ffn = moe.ffn_hidden / chunk.split.expert_tp(chunk.tp), h = model.hidden;
  const int64_t each = 3 * ffn * h + (moe.expert_bias ? 2 * ffn + h : 0);
  return moe.experts / chunk.split.ep * each;
}

// What a multi-token-prediction module has beside its layer: two norms and the projection of two
// streams into one, row-parallel.
int64_t mtp_elements(const ModelSpec& model, int64_t tp) {
  return 2 * model.hidden + 2 * model.hidden * model.hidden / tp;
}

}  // namespace

RankParameters rank_parameters(const ModelSpec& model, const ChunkShape& chunk) {
  RankParameters out;
  const auto add = [&](const ChunkShape& part, const LayerSpec* layer) {
    int64_t dense = 0;
    for (const ParameterTensor& tensor : chunk_parameters(model, part, 0)) {
      if (tensor.slot.find(".moe.experts") == std::string::npos) dense += tensor.elements();
    }
    const int64_t experts =
        layer != nullptr && layer->moe.experts > 0 ? expert_elements(model, chunk, *layer) : 0;
    out.largest = std::max(out.largest, dense + experts);
    return std::pair{dense, experts};
  };
  const auto add_layers = [&](int64_t first, int64_t count) {
    std::map<int, std::pair<int64_t, int64_t>> kinds;  // layers of one kind are alike
    for (int64_t i = first; i < first + count; ++i) {
      ChunkShape part = chunk;
      part.embedding = part.head = false;
      part.first_layer = i;
      part.num_layers = 1;
      const auto [slot, fresh] = kinds.try_emplace(model.layer_kind.at(i));
      if (fresh) slot->second = add(part, &model.layer(i));
      out.dense += slot->second.first;
      out.experts += slot->second.second;
    }
  };
  add_layers(chunk.first_layer, chunk.num_layers);
  for (int64_t i = 0; i < chunk.mtp_layers; ++i) {
    add_layers(model.layers() - 1, 1);
    out.dense += mtp_elements(model, chunk.tp);
  }
  ChunkShape ends = chunk;
  ends.num_layers = 0;
  if (chunk.embedding || chunk.head) out.dense += add(ends, nullptr).first;
  return out;
}

}  // namespace shardwright
