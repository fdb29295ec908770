#include "costmodel/layer_steps.h"

namespace shardwright {
namespace {

// Appends one layer's forward in execution order; the same list serves recomputation.
class ForwardBuilder {
 public:
  ForwardBuilder(const ModelSpec& model, const ChunkShape& chunk, std::vector<Step>* out)
      : model_(model), chunk_(chunk), out_(out) {}

  void embedding() {
    begin(-1, Phase::kForward);
    const LayerShape s(model_, chunk_, model_.kinds.front());
    add(StepOp::kEmbed, s.pass(PassKind::kEmbedding, s.tokens, s.hidden, 2));
    if (s.tp > 1) add(StepOp::kEmbedReduce, s.reduce(s.hidden));
  }

  void layer(int64_t index, Phase phase) {
    begin(index, phase);
    const LayerShape s(model_, chunk_, model_.layer(index));
    attention(s);
    // A recomputed layer stops where nothing further is needed by its backward.
    mlp(s, phase == Phase::kRecompute);
  }

  void head() {
    begin(-1, Phase::kForward);
    const LayerShape s(model_, chunk_, model_.kinds.back());
    const int64_t vocab = padded_vocab_share(model_, s.tp);
    add(StepOp::kFinalNorm, s.pass(norm_pass(model_, false), s.tokens, s.hidden, 2));
    add(StepOp::kLogits, s.gemm(GemmLayout::kForward, vocab, s.hidden, s.tokens));
    add(StepOp::kLoss, s.pass(PassKind::kLossLocal, s.tokens, vocab, 1));
    if (s.tp > 1) {
      // Three fp32 figures per token from every member.
      add(StepOp::kLossReduce,
          CollectiveWork{CollectiveKind::kAllGather, Axis::kTp, s.tokens * 3 * 4 * s.tp});
    }
  }

 private:
  void begin(int64_t layer, Phase phase) {
    layer_ = layer;
    phase_ = phase;
  }
  void add(StepOp op, Work work) { out_->push_back({op, phase_, layer_, work}); }

  void attention(const LayerShape& s) {
    const AttentionSpec& a = s.layer.attention;
    add(StepOp::kNorm1, s.pass(norm_pass(model_, false), s.tokens, s.hidden, 2));
    if (a.mla()) {
      add(StepOp::kLatentDown, s.gemm(GemmLayout::kForward, s.latent_width, s.hidden, s.tokens));
      add(StepOp::kLatentUp, s.gemm(GemmLayout::kForward, s.latent_q_out, s.latent_q_in, s.tokens));
      add(StepOp::kLatentUp,
          s.gemm(GemmLayout::kForward, s.latent_kv_out, a.kv_lora_rank, s.tokens));
    } else {
      add(StepOp::kQkv, s.gemm(GemmLayout::kForward, s.qkv_out, s.hidden, s.tokens));
    }
    if (a.qk_norm) add(StepOp::kQkNorm, s.pass(norm_pass(model_, false), s.tokens, s.rotated, 2));
    if (model_.position == Position::kRope) {
      add(StepOp::kRope, s.pass(PassKind::kRope, s.tokens, s.rotated, 2));
    }
    add(StepOp::kAttention, s.attention(false));
    add(StepOp::kAttentionOut, s.gemm(GemmLayout::kForward, s.hidden, s.context, s.tokens));
    if (s.tp > 1) add(StepOp::kAttentionReduce, s.reduce(s.hidden));
    post_norm(s);
    add(StepOp::kAddNorm2, s.pass(PassKind::kAddNorm, s.tokens, s.hidden, 4));
  }

  void mlp(const LayerShape& s, bool recompute) {
    if (s.experts > 0) experts(s);
    if (s.dense_ffn > 0) {
      add(StepOp::kMlpUp, s.gemm(GemmLayout::kForward, s.dense_up, s.hidden, s.tokens));
      add(StepOp::kActivation,
          s.pass(activation_pass(s.gated, false), s.tokens, s.dense_ffn, s.gated ? 3 : 2));
    }
    if (recompute) return;
    if (s.dense_ffn > 0) {
      add(StepOp::kMlpDown, s.gemm(GemmLayout::kForward, s.hidden, s.dense_ffn, s.tokens));
    }
    if (s.tp > 1) add(StepOp::kMlpReduce, s.reduce(s.hidden));
    post_norm(s);
    add(StepOp::kAdd, s.pass(PassKind::kAdd, s.tokens, s.hidden, 3));
  }

  void experts(const LayerShape& s) {
    const int64_t copies = s.experts * s.expert_rows;
    add(StepOp::kRouter, s.gemm(GemmLayout::kForward, s.experts, s.hidden, s.tokens));
    add(StepOp::kDispatch, s.pass(PassKind::kCopy, copies, s.hidden, 2));
    add(StepOp::kExpertUp,
        s.gemm(GemmLayout::kForward, s.expert_up, s.hidden, s.expert_rows, s.experts));
    add(StepOp::kExpertActivation, s.pass(PassKind::kSwiGlu, copies, s.expert_ffn, 3));
    add(StepOp::kExpertDown,
        s.gemm(GemmLayout::kForward, s.hidden, s.expert_ffn, s.expert_rows, s.experts));
    add(StepOp::kCombine, s.pass(PassKind::kCopy, copies, s.hidden, 2));
  }

  void post_norm(const LayerShape& s) {
    if (s.layer.norms < 4) return;
    add(StepOp::kPostNorm, s.pass(norm_pass(model_, false), s.tokens, s.hidden, 2));
  }

  const ModelSpec& model_;
  const ChunkShape& chunk_;
  std::vector<Step>* out_;
  int64_t layer_ = -1;
  Phase phase_ = Phase::kForward;
};

}  // namespace

std::vector<Step> forward_steps(const ModelSpec& model, const ChunkShape& chunk) {
  std::vector<Step> steps;
  ForwardBuilder builder(model, chunk, &steps);
  if (chunk.embedding) builder.embedding();
  for (int64_t i = 0; i < chunk.num_layers; ++i) {
    builder.layer(chunk.first_layer + i, Phase::kForward);
  }
  if (chunk.head) builder.head();
  return steps;
}

std::vector<Step> recompute_steps(const ModelSpec& model, const ChunkShape& chunk, int64_t layer) {
  std::vector<Step> steps;
  ForwardBuilder(model, chunk, &steps).layer(layer, Phase::kRecompute);
  return steps;
}

}  // namespace shardwright
