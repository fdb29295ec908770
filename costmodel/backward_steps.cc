#include "costmodel/layer_steps.h"

namespace shardwright {
namespace {

// One backward pass in execution order. Each matrix product of the forward becomes two: the
// gradient of its input, needed by the layer before, and that of its weight, which nobody waits
// for.
class BackwardBuilder {
 public:
  BackwardBuilder(const ModelSpec& model, const ChunkShape& chunk, std::vector<Step>* out)
      : model_(model), chunk_(chunk), kernels_(chunk.kernels), out_(out) {}

  void head() {
    if (model_.layer_list()) return;
    layer_ = -1;
    const LayerShape s(model_, chunk_, model_.kinds.back());
    const int64_t vocab = padded_vocab_share(model_, s.tp);
    // Unfused: the gradient in fp32 and its copy to 16 bits.
    pass(StepOp::kLoss, s.pass(PassKind::kLossGrad, s.tokens, vocab, kernels_.fused_loss ? 2 : 3));
    ChunkShape plain = chunk_;
    plain.type = storage_of(chunk_.type);
    linear(LayerShape(model_, plain, model_.kinds.back()), StepOp::kLogits, vocab, s.hidden,
           s.tokens, 1);
    accumulate(vocab * s.hidden);
    if (s.tp > 1) pass(StepOp::kHeadReduce, s.reduce(s.hidden));
    pass(StepOp::kFinalNorm, s.pass(norm_pass(model_, true), s.stream, s.hidden, 3));
  }

  void mtp() {
    layer_ = -1;
    const LayerShape s(model_, chunk_, model_.kinds.back());
    linear(s, StepOp::kMtp, s.hidden / s.tp, 2 * s.hidden, s.tokens, 1);
    pass(StepOp::kMtp, s.pass(norm_pass(model_, true), s.stream, 2 * s.hidden, 4));
    accumulate(2 * s.hidden * s.hidden / s.tp);
  }

  void layer(int64_t index) {
    layer_ = index;
    const LayerShape s(model_, chunk_, model_.layer(index));
    for (auto op = s.layer.ops.rbegin(); op != s.layer.ops.rend(); ++op) listed(s, *op);
    if (!s.layer.ops.empty()) return accumulate(s.weights());
    mlp(s);
    attention(s);
    accumulate(s.weights());
  }

  void embedding() {
    if (model_.layer_list()) return;
    layer_ = -1;
    const LayerShape s(model_, chunk_, model_.kinds.front());
    out_->push_back({StepOp::kEmbed, Phase::kBackwardWeight, -1,
                     s.pass(PassKind::kEmbeddingGrad, s.tokens, s.hidden, 3)});
    if (s.sequence_parallel()) pass(StepOp::kEmbedReduce, s.gather(s.hidden));
  }

 private:
  void pass(StepOp op, Work work) { out_->push_back({op, Phase::kBackwardInput, layer_, work}); }

  void linear(const LayerShape& s, StepOp op, int64_t out, int64_t in, int64_t rows,
              int64_t count) {
    // Read once, written by rows for the one product and by columns for the other.
    if (s.quantised()) pass(StepOp::kQuantise, s.pass(PassKind::kCopy, rows, out, 2, count));
    pass(op, s.gemm(GemmLayout::kInputGrad, out, in, rows, count));
    out_->push_back({op, Phase::kBackwardWeight, layer_,
                     s.gemm(GemmLayout::kWeightGrad, out, in, rows, count)});
  }

  void listed(const LayerShape& s, const ListedOp& op) {
    const int64_t rows = op.rows * s.micro_batch;
    switch (op.kind) {
      case ListedOp::Kind::kGemm:
        return linear(s, StepOp::kListed, op.out, op.in, rows, 1);
      case ListedOp::Kind::kPass:
        return pass(StepOp::kListed, s.pass(PassKind::kCopy, rows, op.out, op.backward_touches));
      case ListedOp::Kind::kLookup:
        return pass(StepOp::kListed, s.pass(PassKind::kEmbeddingGrad, rows, op.out, 3));
    }
  }

  void accumulate(int64_t weights) {
    if (!kernels_.main_gradients) return;
    // The main gradient is read and written; 1 row keeps it a flat pass.
    const int64_t bytes = 2 * size_of(chunk_.gradient_type) * weights;
    out_->push_back({StepOp::kAccumulate, Phase::kBackwardWeight, layer_,
                     PassWork{PassKind::kCopy, 1, weights, bytes}});
  }

  void mlp(const LayerShape& s) {
    post_norm(s);
    if (s.sequence_parallel()) pass(StepOp::kSequenceGather, s.gather(s.hidden));
    if (s.dense_ffn > 0) {
      linear(s, StepOp::kMlpDown, s.hidden, s.dense_ffn, s.tokens, 1);
      pass(StepOp::kActivation,
           s.pass(activation_pass(s.gated, true), s.tokens, s.dense_ffn, s.gated ? 5 : 3));
      linear(s, StepOp::kMlpUp, s.dense_up, s.hidden, s.tokens, 1);
    }
    if (s.experts > 0) experts(s);
    if (s.tp > 1) pass(StepOp::kMlpReduce, s.reduce(s.hidden));
    pass(StepOp::kAddNorm2,
         s.pass(norm_pass(model_, true), s.stream, s.hidden, kernels_.dropout ? 5.5 : 4));
  }

  void experts(const LayerShape& s) {
    const int64_t copies = s.copies();
    pass(StepOp::kCombine, s.pass(PassKind::kCopy, copies, s.hidden, 3));
    if (s.split.ep > 1) pass(StepOp::kExpertReturn, s.expert_exchange(kernels_.node_dispatch));
    linear(s, StepOp::kExpertDown, s.hidden, s.expert_ffn, s.expert_rows, s.local_experts);
    pass(StepOp::kExpertActivation, s.pass(PassKind::kSwiGluGrad, copies, s.expert_ffn, 5));
    linear(s, StepOp::kExpertUp, s.expert_up, s.hidden, s.expert_rows, s.local_experts);
    if (s.split.ep > 1) pass(StepOp::kExpertExchange, s.expert_exchange(kernels_.node_dispatch));
    pass(StepOp::kDispatch, s.pass(PassKind::kCopy, copies, s.hidden, 2));
    linear(s, StepOp::kRouter, s.experts, s.hidden, s.tokens, 1);
  }

  void attention(const LayerShape& s) {
    const AttentionSpec& a = s.layer.attention;
    post_norm(s);
    if (s.sequence_parallel()) pass(StepOp::kSequenceGather, s.gather(s.hidden));
    linear(s, StepOp::kAttentionOut, s.hidden, s.context, s.tokens, 1);
    if (s.split.cp > 1) pass(StepOp::kContextExchange, s.context_exchange(true));
    core_attention(s);
    if (model_.position == Position::kRope) {
      pass(StepOp::kRope, s.pass(PassKind::kRope, s.tokens, s.rotated, 2));
    }
    if (a.qk_norm) pass(StepOp::kQkNorm, s.pass(norm_pass(model_, true), s.tokens, s.rotated, 3));
    if (a.mla()) {
      linear(s, StepOp::kLatentUp, s.latent_kv_out, a.kv_lora_rank, s.tokens, 1);
      linear(s, StepOp::kLatentUp, s.latent_q_out, s.latent_q_in, s.tokens, 1);
      linear(s, StepOp::kLatentDown, s.latent_width, s.hidden, s.tokens, 1);
    } else {
      linear(s, StepOp::kQkv, s.qkv_out, s.hidden, s.tokens, 1);
    }
    if (s.tp > 1) pass(StepOp::kAttentionReduce, s.reduce(s.hidden));
    pass(StepOp::kNorm1, s.pass(norm_pass(model_, true), s.stream, s.hidden, 4));
  }

  void core_attention(const LayerShape& s) {
    if (kernels_.flash_attention) {
      pass(StepOp::kAttention, s.attention(true));
      return;
    }
    // Each of the two products of the forward has two gradients.
    const GemmWork scores = s.scores(GemmLayout::kForward);
    const GemmWork context = s.scores(GemmLayout::kInputGrad);
    pass(StepOp::kContext, scores);
    pass(StepOp::kContext, context);
    pass(StepOp::kSoftmax,
         s.pass(PassKind::kCopy, scores.count * s.seq, s.seq, kernels_.dropout ? 5.5 : 3));
    pass(StepOp::kScores, context);
    pass(StepOp::kScores, context);
  }

  void post_norm(const LayerShape& s) {
    if (s.layer.norms < 4) return;
    pass(StepOp::kPostNorm, s.pass(norm_pass(model_, true), s.stream, s.hidden, 3));
  }

  const ModelSpec& model_;
  const ChunkShape& chunk_;
  const Kernels& kernels_;
  std::vector<Step>* out_;
  int64_t layer_ = -1;
};

}  // namespace

void append_backward(const ModelSpec& model, const ChunkShape& chunk, ChunkPart part, int64_t layer,
                     std::vector<Step>* out) {
  BackwardBuilder builder(model, chunk, out);
  if (part == ChunkPart::kEmbedding) builder.embedding();
  if (part == ChunkPart::kLayer) builder.layer(layer);
  if (part == ChunkPart::kHead) builder.head();
  if (part == ChunkPart::kMtp) builder.mtp();
}

std::vector<Step> backward_steps(const ModelSpec& model, const ChunkShape& chunk) {
  std::vector<Step> steps;
  BackwardBuilder builder(model, chunk, &steps);
  for (int64_t i = 0; i < chunk.mtp_layers; ++i) {
    builder.head();
    builder.layer(model.layers() - 1);
    builder.mtp();
  }
  if (chunk.head) builder.head();
  for (int64_t i = chunk.num_layers - 1; i >= 0; --i) {
    const int64_t layer = chunk.first_layer + i;
    if (chunk.recompute || chunk.recompute_modules != 0) {
      const std::vector<Step> again = recompute_steps(model, chunk, layer);
      steps.insert(steps.end(), again.begin(), again.end());
    }
    builder.layer(layer);
  }
  if (chunk.embedding) builder.embedding();
  return steps;
}

}  // namespace shardwright
