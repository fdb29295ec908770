#include "costmodel/steps.h"

#include <array>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr std::array<const char*, static_cast<size_t>(StepOp::kCount)> kStepNames = {
    "embed",
    "embed_reduce",
    "norm1",
    "qkv",
    "latent_down",
    "latent_up",
    "qk_norm",
    "rope",
    "attention",
    "attention_out",
    "attention_reduce",
    "post_norm",
    "add_norm2",
    "router",
    "dispatch",
    "mlp_up",
    "activation",
    "mlp_down",
    "expert_up",
    "expert_activation",
    "expert_down",
    "combine",
    "mlp_reduce",
    "add",
    "final_norm",
    "logits",
    "loss",
    "loss_reduce",
    "head_reduce",
    "sequence_gather",
    "context_exchange",
    "scores",
    "softmax",
    "context",
    "quantise",
    "accumulate",
    "expert_exchange",
    "expert_return",
    "listed",
    "mtp",
    "load",
    "send",
    "receive",
    "gradient_reduce",
    "tied_reduce",
    "square_sum",
    "norm_reduce",
    "update",
    "zero_gradients"};

}  // namespace

const char* name_of(StepOp op) { return kStepNames.at(static_cast<size_t>(op)); }

bool parse_step_op(const std::string& name, StepOp* out) {
  for (size_t i = 0; i < kStepNames.size(); ++i) {
    if (name == kStepNames[i]) {
      *out = static_cast<StepOp>(i);
      return true;
    }
  }
  return false;
}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kForward:
      return "forward";
    case Phase::kRecompute:
      return "recompute";
    case Phase::kBackwardInput:
      return "backward";
    case Phase::kBackwardWeight:
      return "backward_weight";
  }
  SW_CHECK(false, "phase " << static_cast<int>(phase));
}

std::string kind_of(const Step& step) {
  return std::string(name_of(step.op)) + "." + name_of(step.phase);
}

int64_t padded_vocab_share(const ModelSpec& model, int64_t tp) {
  return round_up(ceil_div(model.vocab, tp), model.vocab_multiple);
}

}  // namespace shardwright
