#include <algorithm>

#include "costmodel/layer_steps.h"

namespace shardwright {
namespace {

// Appends parts of a forward in execution order; the same list serves recomputation.
class ForwardBuilder {
 public:
  ForwardBuilder(const ModelSpec& model, const ChunkShape& chunk, std::vector<Step>* out)
      : model_(model), chunk_(chunk), kernels_(chunk.kernels), out_(out) {}

  void embedding() {
    if (model_.layer_list()) return;
    begin(-1, Phase::kForward);
    const LayerShape s(model_, chunk_, model_.kinds.front());
    add(StepOp::kEmbed, s.pass(PassKind::kEmbedding, s.tokens, s.hidden, 2));
    if (s.tp > 1) add(StepOp::kEmbedReduce, s.reduce(s.hidden));
  }

  void layer(int64_t index, Phase phase) {
    begin(index, phase);
    const LayerShape s(model_, chunk_, model_.layer(index));
    for (const ListedOp& op : s.layer.ops) add(StepOp::kListed, s.listed(op));
    if (!s.layer.ops.empty()) return;
    attention(s);
    // Where recomputation can stop, it stops where nothing further is needed by its backward.
    mlp(s, phase == Phase::kRecompute && !kernels_.whole_recompute);
  }

  void head() {
    if (model_.layer_list()) return;
    begin(-1, Phase::kForward);
    const LayerShape s(model_, chunk_, model_.kinds.back());
    const int64_t vocab = padded_vocab_share(model_, s.tp);
    add(StepOp::kFinalNorm, s.pass(norm_pass(model_, false), s.stream, s.hidden, 2));
    if (s.sequence_parallel()) add(StepOp::kSequenceGather, s.gather(s.hidden));
    GemmWork logits = s.gemm(GemmLayout::kForward, vocab, s.hidden, s.tokens);
    logits.type = storage_of(s.type);
    add(StepOp::kLogits, logits);
    // Unfused: a copy to fp32 (6 bytes), the maximum, the difference and the exponential (8).
    add(StepOp::kLoss, s.pass(PassKind::kLossLocal, s.tokens, vocab, kernels_.fused_loss ? 1 : 7));
    if (s.tp > 1) {
      // Three fp32 figures per token from every member.
      add(StepOp::kLossReduce,
          CollectiveWork{CollectiveKind::kAllGather, Axis::kTp, s.tokens * 3 * 4 * s.tp});
    }
  }

  // Norms of the stream and of the next token's embedding, and both projected into one
  // (2412.19437).
  void mtp() {
    begin(-1, Phase::kForward);
    const LayerShape s(model_, chunk_, model_.kinds.back());
    add(StepOp::kMtp, s.pass(norm_pass(model_, false), s.stream, 2 * s.hidden, 2));
    linear(s, StepOp::kMtp, s.hidden / s.tp, 2 * s.hidden, s.tokens);
  }

 private:
  void begin(int64_t layer, Phase phase) {
    layer_ = layer;
    phase_ = phase;
  }
  void add(StepOp op, Work work) { out_->push_back({op, phase_, layer_, work}); }

  // A layer's matrix product; in fp8 its input is read in bf16 and written twice, by rows and by
  // columns (for the gradient of the weight). The products of all experts are one call, their casts
  // are one each (Transformer Engine's GroupedLinear).
  void linear(const LayerShape& s, StepOp op, int64_t out, int64_t in, int64_t rows,
              int64_t count = 1) {
    if (s.quantised()) add(StepOp::kQuantise, s.pass(PassKind::kCopy, rows, in, 2, count));
    add(op, s.gemm(GemmLayout::kForward, out, in, rows, count));
  }

  void attention(const LayerShape& s) {
    const AttentionSpec& a = s.layer.attention;
    add(StepOp::kNorm1, s.pass(norm_pass(model_, false), s.stream, s.hidden, 2));
    if (s.sequence_parallel()) add(StepOp::kSequenceGather, s.gather(s.hidden));
    if (a.mla()) {
      linear(s, StepOp::kLatentDown, s.latent_width, s.hidden, s.tokens);
      linear(s, StepOp::kLatentUp, s.latent_q_out, s.latent_q_in, s.tokens);
      linear(s, StepOp::kLatentUp, s.latent_kv_out, a.kv_lora_rank, s.tokens);
    } else {
      linear(s, StepOp::kQkv, s.qkv_out, s.hidden, s.tokens);
    }
    if (a.qk_norm) add(StepOp::kQkNorm, s.pass(norm_pass(model_, false), s.tokens, s.rotated, 2));
    if (model_.position == Position::kRope) {
      add(StepOp::kRope, s.pass(PassKind::kRope, s.tokens, s.rotated, 2));
    }
    if (s.split.cp > 1) add(StepOp::kContextExchange, s.context_exchange(false));
    core_attention(s);
    linear(s, StepOp::kAttentionOut, s.hidden, s.context, s.tokens);
    if (s.tp > 1) add(StepOp::kAttentionReduce, s.reduce(s.hidden));
    post_norm(s);
    add(StepOp::kAddNorm2,
        s.pass(PassKind::kAddNorm, s.stream, s.hidden, kernels_.dropout ? 4.5 : 4));
  }

  void core_attention(const LayerShape& s) {
    if (kernels_.flash_attention) {
      add(StepOp::kAttention, s.attention(false));
      return;
    }
    const GemmWork scores = s.scores(GemmLayout::kForward);
    add(StepOp::kScores, scores);
    // Softmax reads and writes the scores; dropout does so once more, with a mask of bytes.
    add(StepOp::kSoftmax,
        s.pass(PassKind::kCopy, scores.count * s.seq, s.seq, kernels_.dropout ? 4.5 : 2));
    add(StepOp::kContext, s.scores(GemmLayout::kInputGrad));
  }

  void mlp(const LayerShape& s, bool recompute) {
    if (s.sequence_parallel()) add(StepOp::kSequenceGather, s.gather(s.hidden));
    if (s.experts > 0) experts(s);
    if (s.dense_ffn > 0) {
      linear(s, StepOp::kMlpUp, s.dense_up, s.hidden, s.tokens);
      add(StepOp::kActivation,
          s.pass(activation_pass(s.gated, false), s.tokens, s.dense_ffn, s.gated ? 3 : 2));
    }
    if (recompute) return;
    if (s.dense_ffn > 0) linear(s, StepOp::kMlpDown, s.hidden, s.dense_ffn, s.tokens);
    if (s.tp > 1) add(StepOp::kMlpReduce, s.reduce(s.hidden));
    post_norm(s);
    add(StepOp::kAdd, s.pass(PassKind::kAdd, s.stream, s.hidden, kernels_.dropout ? 3.5 : 3));
  }

  void experts(const LayerShape& s) {
    add(StepOp::kRouter, s.gemm(GemmLayout::kForward, s.experts, s.hidden, s.tokens));
    add(StepOp::kDispatch, s.pass(PassKind::kCopy, s.copies(), s.hidden, 2));
    if (s.split.ep > 1) add(StepOp::kExpertExchange, s.expert_exchange(kernels_.node_dispatch));
    linear(s, StepOp::kExpertUp, s.expert_up, s.hidden, s.expert_rows, s.local_experts);
    add(StepOp::kExpertActivation, s.pass(PassKind::kSwiGlu, s.copies(), s.expert_ffn, 3));
    linear(s, StepOp::kExpertDown, s.hidden, s.expert_ffn, s.expert_rows, s.local_experts);
    if (s.split.ep > 1) add(StepOp::kExpertReturn, s.expert_exchange(kernels_.node_dispatch));
    add(StepOp::kCombine, s.pass(PassKind::kCopy, s.copies(), s.hidden, 2));
  }

  void post_norm(const LayerShape& s) {
    if (s.layer.norms < 4) return;
    add(StepOp::kPostNorm, s.pass(norm_pass(model_, false), s.stream, s.hidden, 2));
  }

  const ModelSpec& model_;
  const ChunkShape& chunk_;
  const Kernels& kernels_;
  std::vector<Step>* out_;
  int64_t layer_ = -1;
  Phase phase_ = Phase::kForward;
};

// Modules that a step of the forward belongs to.
uint32_t modules_of(StepOp op) {
  switch (op) {
    case StepOp::kAttention:
    case StepOp::kScores:
    case StepOp::kSoftmax:
    case StepOp::kContext:
      return kRecomputeCoreAttention;
    case StepOp::kNorm1:
    case StepOp::kAddNorm2:
      return kRecomputeNorms;
    case StepOp::kLatentUp:
      return kRecomputeLatentUp;
    case StepOp::kMlpUp:
    case StepOp::kActivation:
    case StepOp::kMlpDown:
      return kRecomputeMlp | kRecomputeSharedExperts;
    case StepOp::kExpertActivation:
      return kRecomputeMoe | kRecomputeMoeActivation;
    case StepOp::kRouter:
    case StepOp::kDispatch:
    case StepOp::kExpertExchange:
    case StepOp::kExpertUp:
    case StepOp::kExpertDown:
    case StepOp::kExpertReturn:
    case StepOp::kCombine:
      return kRecomputeMoe;
    default:
      return 0;
  }
}

}  // namespace

void append_forward(const ModelSpec& model, const ChunkShape& chunk, ChunkPart part, int64_t layer,
                    std::vector<Step>* out) {
  ForwardBuilder builder(model, chunk, out);
  if (part == ChunkPart::kEmbedding) builder.embedding();
  if (part == ChunkPart::kLayer) builder.layer(layer, Phase::kForward);
  if (part == ChunkPart::kHead) builder.head();
  if (part == ChunkPart::kMtp) builder.mtp();
}

std::vector<Step> forward_steps(const ModelSpec& model, const ChunkShape& chunk) {
  std::vector<Step> steps;
  ForwardBuilder builder(model, chunk, &steps);
  if (chunk.embedding) builder.embedding();
  for (int64_t i = 0; i < chunk.num_layers; ++i) {
    builder.layer(chunk.first_layer + i, Phase::kForward);
  }
  if (chunk.head) builder.head();
  for (int64_t i = 0; i < chunk.mtp_layers; ++i) {
    builder.mtp();
    builder.layer(model.layers() - 1, Phase::kForward);
    builder.head();
  }
  return steps;
}

bool is_recomputed(const ModelSpec& model, const ChunkShape& chunk, const Step& step) {
  if (chunk.recompute) {
    const int64_t place = step.layer - chunk.first_layer;
    return chunk.recompute_layers == 0 || place < chunk.recompute_layers;
  }
  uint32_t modules = modules_of(step.op);
  // The dense product of a layer with experts is its shared experts, else the MLP.
  const bool moe = model.layer(step.layer).moe.experts > 0;
  modules &= ~static_cast<uint32_t>(moe ? kRecomputeMlp : kRecomputeSharedExperts);
  return (modules & chunk.recompute_modules) != 0;
}

void append_recompute(const ModelSpec& model, const ChunkShape& chunk, int64_t layer,
                      std::vector<Step>* out) {
  const auto begin = static_cast<std::ptrdiff_t>(out->size());
  ForwardBuilder(model, chunk, out).layer(layer, Phase::kRecompute);
  if (chunk.recompute_modules == 0 && chunk.recompute_layers == 0) return;
  const auto kept = std::remove_if(out->begin() + begin, out->end(), [&](const Step& step) {
    return !is_recomputed(model, chunk, step);
  });
  out->erase(kept, out->end());
}

std::vector<Step> recompute_steps(const ModelSpec& model, const ChunkShape& chunk, int64_t layer) {
  std::vector<Step> steps;
  append_recompute(model, chunk, layer, &steps);
  return steps;
}

}  // namespace shardwright
