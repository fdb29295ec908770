#include "costmodel/check.h"
#include "executor/model/chunk_runner.h"

namespace shardwright {

void ChunkRunner::forward(const Step& step, MicrobatchView* view) {
  void* partial = scratch_.at(Scratch::kPartial);
  const auto kept = [&](Saved name) { return act(name, step, *view); };
  const auto kept_stats = [&](Saved name) { return stats(name, step, *view); };
  const auto w = [&](const char* name) { return value(step, name); };
  switch (step.op) {
    case StepOp::kEmbed:
      return embed_forward(view);
    case StepOp::kEmbedReduce:
      return reduce(layer_input(chunk_.first_layer, *view));
    case StepOp::kNorm1:
      return ops_.norm(model_.norm, layer_input(step.layer, *view), w("norm1.weight"),
                       w("norm1.bias"), eps_, kept(Saved::kNorm1), kept_stats(Saved::kStats1), T_,
                       h_);
    case StepOp::kQkv:
      return ops_.linear(kept(Saved::kNorm1), w("qkv.weight"), w("qkv.bias"), kept(Saved::kQkv), T_,
                         h_, qkv_);
    case StepOp::kRope:
      return ops_.rope(
          kept(Saved::kQkv), attention_,
          static_cast<int64_t>(model_.rotary_fraction * static_cast<double>(attention_.head_dim)),
          static_cast<float>(model_.rope_theta), false);
    case StepOp::kAttention:
      return ops_.attention(kept(Saved::kQkv), attention_, kept(Saved::kContext),
                            kept_stats(Saved::kLse));
    case StepOp::kAttentionOut:
      return ops_.linear(kept(Saved::kContext), w("attention.out.weight"), nullptr, partial, T_,
                         context_, h_);
    case StepOp::kAttentionReduce:
    case StepOp::kMlpReduce:
      return reduce(partial);
    case StepOp::kAddNorm2:
      return ops_.add_norm(model_.norm, layer_input(step.layer, *view), partial,
                           w("attention.out.bias"), w("norm2.weight"), w("norm2.bias"), eps_,
                           kept(Saved::kMiddle), kept(Saved::kNorm2), kept_stats(Saved::kStats2),
                           T_, h_);
    case StepOp::kMlpUp:
      if (fused_) {
        return ops_.linear_activation(model_.activation, kept(Saved::kNorm2), w("mlp.up.weight"),
                                      w("mlp.up.bias"), kept(Saved::kUp), kept(Saved::kActivated),
                                      T_, h_, up_);
      }
      return ops_.linear(kept(Saved::kNorm2), w("mlp.up.weight"), nullptr, kept(Saved::kUp), T_, h_,
                         up_);
    case StepOp::kActivation:
      if (fused_) return;  // done with the product before it
      if (gated_) {
        return ops_.gated(model_.activation, kept(Saved::kUp), kept(Saved::kActivated), T_, ffn_);
      }
      return ops_.activation(model_.activation, kept(Saved::kUp), w("mlp.up.bias"),
                             kept(Saved::kActivated), T_, ffn_);
    case StepOp::kMlpDown:
      return ops_.linear(kept(Saved::kActivated), w("mlp.down.weight"), nullptr, partial, T_, ffn_,
                         h_);
    case StepOp::kAdd:
      return ops_.add(kept(Saved::kMiddle), partial, w("mlp.down.bias"),
                      layer_output(step.layer, *view), T_, h_);
    case StepOp::kFinalNorm:
      return ops_.norm(model_.norm, kept(Saved::kHeadInput), weights_.value("final_norm.weight"),
                       weights_.value("final_norm.bias"), eps_, kept(Saved::kFinalNorm),
                       kept_stats(Saved::kFinalStats), T_, h_);
    case StepOp::kLogits:
      return ops_.linear(kept(Saved::kFinalNorm), weights_.value(head_slot()), nullptr,
                         kept(Saved::kLogits), T_, h_, vocab_share_);
    case StepOp::kLoss:
      return loss_forward(step, view);
    case StepOp::kLossReduce:
      return loss_gather(step, view);
    default:
      SW_CHECK(false, "no forward routine for step " << kind_of(step));
  }
}

void ChunkRunner::embed_forward(MicrobatchView* view) {
  // The sum over tp must hold the positions once.
  const bool first = tp_ == nullptr || tp_->index() == 0;
  const void* positions = first ? weights_.value("embedding.positions") : nullptr;
  ops_.embedding(view->tokens, weights_.value("embedding.tokens"), vocab_first(), vocab_valid(),
                 positions, layer_input(chunk_.first_layer, *view), T_, chunk_.seq, h_);
}

void ChunkRunner::loss_forward(const Step& step, MicrobatchView* view) {
  float* parts = loss_parts(Scratch::kLossParts);
  ops_.loss_local(act(Saved::kLogits, step, *view), view->targets, vocab_first(), vocab_valid(),
                  vocab_share_, parts, T_);
  if (chunk_.tp > 1) return;
  ops_.loss_combine(parts, 1, stats(Saved::kLossLse, step, *view), T_, view->loss_sum);
}

void ChunkRunner::loss_gather(const Step& step, MicrobatchView* view) {
  float* all = loss_parts(Scratch::kLossPartsAll);
  const Timing gathered = tp_->all_gather(loss_parts(Scratch::kLossParts), all, T_ * 3);
  ops_.loss_combine(all, chunk_.tp, stats(Saved::kLossLse, step, *view), T_, view->loss_sum);
  collective_ = Timing{gathered.start_ns, ops_.lanes().stamp()};
}

}  // namespace shardwright
