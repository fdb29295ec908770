#include "costmodel/check.h"
#include "executor/model/chunk_runner.h"

namespace shardwright {

void ChunkRunner::backward_input(const Step& step, MicrobatchView* view) {
  void* grad_norm = scratch_.at(Scratch::kGradNorm);
  void* grad_middle = scratch_.at(Scratch::kGradMiddle);
  void* grad_up = scratch_.at(Scratch::kGradUp);
  void* grad_activated = scratch_.at(Scratch::kGradActivated);
  void* grad_context = scratch_.at(Scratch::kGradContext);
  void* grad_qkv = scratch_.at(Scratch::kGradQkv);
  const auto kept = [&](Saved name) { return act(name, step, *view); };
  const auto kept_stats = [&](Saved name) { return stats(name, step, *view); };
  const auto w = [&](const char* name) { return value(step, name); };
  const auto dw = [&](const char* name) { return grad(step, name); };
  switch (step.op) {
    case StepOp::kLoss:
      return ops_.loss_grad(kept(Saved::kLogits), view->targets, vocab_first(), vocab_valid(),
                            vocab_share_, kept_stats(Saved::kLossLse), loss_scale_, T_);
    case StepOp::kLogits:
      return ops_.linear_input_grad(kept(Saved::kLogits), weights_.value(head_slot()), grad_norm,
                                    T_, h_, vocab_share_);
    case StepOp::kHeadReduce:
    case StepOp::kMlpReduce:
    case StepOp::kAttentionReduce:
      return reduce(grad_norm);
    case StepOp::kFinalNorm:
      return ops_.norm_grad(
          model_.norm, kept(Saved::kHeadInput), weights_.value("final_norm.weight"),
          kept_stats(Saved::kFinalStats), grad_norm, nullptr, scratch_.at(Scratch::kGradStream),
          weights_.grad("final_norm.weight"), weights_.grad("final_norm.bias"), T_, h_);
    case StepOp::kMlpDown:
      if (fused_) {
        return ops_.linear_activation_grad(model_.activation, output_grad(step.layer, *view),
                                           w("mlp.down.weight"), kept(Saved::kUp), grad_activated,
                                           grad_up, T_, ffn_, h_);
      }
      return ops_.linear_input_grad(output_grad(step.layer, *view), w("mlp.down.weight"),
                                    grad_activated, T_, ffn_, h_);
    case StepOp::kActivation:
      if (fused_) return;  // done with the product before it
      if (gated_) {
        return ops_.gated_grad(model_.activation, kept(Saved::kUp), grad_activated, grad_up, T_,
                               ffn_);
      }
      return ops_.activation_grad(model_.activation, kept(Saved::kUp), w("mlp.up.bias"),
                                  grad_activated, grad_up, dw("mlp.up.bias"), T_, ffn_);
    case StepOp::kMlpUp:
      return ops_.linear_input_grad(grad_up, w("mlp.up.weight"), grad_norm, T_, h_, up_);
    case StepOp::kAddNorm2:
      return ops_.norm_grad(model_.norm, kept(Saved::kMiddle), w("norm2.weight"),
                            kept_stats(Saved::kStats2), grad_norm, output_grad(step.layer, *view),
                            grad_middle, dw("norm2.weight"), dw("norm2.bias"), T_, h_);
    case StepOp::kAttentionOut:
      return ops_.linear_input_grad(grad_middle, w("attention.out.weight"), grad_context, T_,
                                    context_, h_);
    case StepOp::kAttention:
      return ops_.attention_grad(kept(Saved::kQkv), kept(Saved::kContext), kept_stats(Saved::kLse),
                                 grad_context, attention_, grad_qkv);
    case StepOp::kRope:
      return ops_.rope(
          grad_qkv, attention_,
          static_cast<int64_t>(model_.rotary_fraction * static_cast<double>(attention_.head_dim)),
          static_cast<float>(model_.rope_theta), true);
    case StepOp::kQkv:
      return ops_.linear_input_grad(grad_qkv, w("qkv.weight"), grad_norm, T_, h_, qkv_);
    case StepOp::kNorm1:
      return ops_.norm_grad(model_.norm, layer_input(step.layer, *view), w("norm1.weight"),
                            kept_stats(Saved::kStats1), grad_norm, grad_middle,
                            input_grad(step.layer, *view), dw("norm1.weight"), dw("norm1.bias"), T_,
                            h_);
    default:
      SW_CHECK(false, "no backward routine for step " << kind_of(step));
  }
}

void ChunkRunner::backward_weight(const Step& step, MicrobatchView* view) {
  const auto kept = [&](Saved name) { return act(name, step, *view); };
  const auto dw = [&](const char* name) { return grad(step, name); };
  switch (step.op) {
    case StepOp::kLogits:
      return ops_.linear_weight_grad(kept(Saved::kLogits), kept(Saved::kFinalNorm),
                                     weights_.grad(head_slot()), nullptr, T_, h_, vocab_share_);
    case StepOp::kMlpDown:
      return ops_.linear_weight_grad(output_grad(step.layer, *view), kept(Saved::kActivated),
                                     dw("mlp.down.weight"), dw("mlp.down.bias"), T_, ffn_, h_);
    case StepOp::kMlpUp:
      return ops_.linear_weight_grad(scratch_.at(Scratch::kGradUp), kept(Saved::kNorm2),
                                     dw("mlp.up.weight"), fused_ ? dw("mlp.up.bias") : nullptr, T_,
                                     h_, up_);
    case StepOp::kAttentionOut:
      return ops_.linear_weight_grad(scratch_.at(Scratch::kGradMiddle), kept(Saved::kContext),
                                     dw("attention.out.weight"), dw("attention.out.bias"), T_,
                                     context_, h_);
    case StepOp::kQkv:
      return ops_.linear_weight_grad(scratch_.at(Scratch::kGradQkv), kept(Saved::kNorm1),
                                     dw("qkv.weight"), dw("qkv.bias"), T_, h_, qkv_);
    case StepOp::kEmbed:
      return ops_.embedding_grad(view->tokens, input_grad(chunk_.first_layer, *view),
                                 weights_.grad("embedding.tokens"), vocab_first(), vocab_valid(),
                                 weights_.grad("embedding.positions"), T_, chunk_.seq, h_);
    default:
      SW_CHECK(false, "no weight-gradient routine for step " << kind_of(step));
  }
}

}  // namespace shardwright
