#include "executor/model/chunk_runner.h"

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/layer_steps.h"

namespace shardwright {

ChunkRunner::ChunkRunner(Ops& ops, const ModelSpec& model, const ChunkShape& chunk,
                         Weights& weights, const ScratchSet& scratch, Group* tp_group,
                         float loss_scale)
    : ops_(ops),
      model_(model),
      chunk_(chunk),
      weights_(weights),
      tp_(tp_group),
      loss_scale_(loss_scale),
      scratch_(scratch),
      eps_(static_cast<float>(model.norm_eps)) {
  const LayerShape shape(model, chunk_, model.kinds.front());
  T_ = shape.tokens;
  h_ = shape.hidden;
  qkv_ = shape.qkv_out;
  context_ = shape.context;
  ffn_ = shape.dense_ffn;
  up_ = shape.dense_up;
  gated_ = shape.gated;
  fused_ = !gated_ && shape.layer.mlp.bias && ops_.fuses_activation(model.activation);
  vocab_share_ = padded_vocab_share(model, chunk.tp);
  const AttentionWork work = shape.attention(false);
  attention_ = {work.batch, work.seq, work.heads, work.kv_heads, work.head_dim};
  SW_CHECK(chunk.tp == 1 || tp_ != nullptr, "tp " << chunk.tp << " without a group");
}

StepTiming ChunkRunner::run_timed(const Step& step, MicrobatchView* view) {
  collective_.reset();
  const int64_t start = ops_.lanes().stamp();
  run(step, view);
  return collective_ ? *collective_ : StepTiming{start, ops_.lanes().stamp()};
}

void ChunkRunner::run(const Step& step, MicrobatchView* view) {
  switch (step.phase) {
    case Phase::kForward:
    case Phase::kRecompute:
      forward(step, view);
      break;
    case Phase::kBackwardInput:
      backward_input(step, view);
      break;
    case Phase::kBackwardWeight:
      backward_weight(step, view);
      break;
  }
}

void ChunkRunner::reduce(void* data) {
  collective_ = tp_->all_reduce(data, T_ * h_, ops_.type(), ReduceOp::kSum);
}

void* ChunkRunner::act(Saved name, const Step& step, const MicrobatchView& view) const {
  void* found = chunk_.recompute && step.layer >= 0 ? scratch_.rebuilt(name)
                                                    : view.saved->find(name, step.layer);
  SW_CHECK(found != nullptr, kind_of(step) << " of layer " << step.layer << " has no tensor "
                                           << static_cast<int>(name));
  return found;
}

void* ChunkRunner::layer_input(int64_t layer, const MicrobatchView& view) const {
  if (layer == chunk_.first_layer && !chunk_.embedding) return view.input;
  return view.saved->find(Saved::kInput, layer);
}

void* ChunkRunner::layer_output(int64_t layer, const MicrobatchView& view) const {
  if (layer + 1 < chunk_.first_layer + chunk_.num_layers) return layer_input(layer + 1, view);
  return chunk_.head ? view.saved->find(Saved::kHeadInput, -1) : view.output;
}

void* ChunkRunner::output_grad(int64_t layer, const MicrobatchView& view) const {
  const bool last = layer + 1 == chunk_.first_layer + chunk_.num_layers;
  return last && !chunk_.head ? view.output_grad : scratch_.at(Scratch::kGradStream);
}

void* ChunkRunner::input_grad(int64_t layer, const MicrobatchView& view) const {
  const bool first = layer == chunk_.first_layer;
  return first && !chunk_.embedding ? view.input_grad : scratch_.at(Scratch::kGradStream);
}

const void* ChunkRunner::value(const Step& step, const char* name) const {
  return weights_.value("layers." + std::to_string(step.layer) + "." + name);
}

float* ChunkRunner::grad(const Step& step, const char* name) const {
  return weights_.grad("layers." + std::to_string(step.layer) + "." + name);
}

std::string ChunkRunner::head_slot() const {
  return weights_.value("head.weight") != nullptr ? "head.weight" : "embedding.tokens";
}

int64_t ChunkRunner::vocab_first() const { return (tp_ ? tp_->index() : 0) * vocab_share_; }

int64_t ChunkRunner::vocab_valid() const {
  return std::clamp<int64_t>(model_.vocab - vocab_first(), 0, vocab_share_);
}

}  // namespace shardwright
