// ChunkRunner: performs the steps of a chunk's forward and backward with a device's Ops and the
// tensor-parallel group. It has no order of its own: it does what the step list says, step by step.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/result.h"
#include "executor/comm/communicator.h"
#include "executor/model/tensors.h"
#include "executor/model/weights.h"
#include "planner/plan.h"

namespace shardwright {

// Where ranks compute.
enum class RunDevice { kCpu, kCuda };

// Whether the executor can train the model under the plan: GPT-2 and Llama kinds, over dp, tp and
// pp. The Error names the field that it cannot.
std::optional<Error> check_executable(const ModelSpec& model, const Plan& plan, RunDevice device);

// Everything of one microbatch that a forward or backward touches. Pointers may be null where the
// chunk's place in the pipeline has no use for them.
struct MicrobatchView {
  const int32_t* tokens = nullptr;   // [T]
  const int32_t* targets = nullptr;  // [T]
  void* input = nullptr;             // [T, h] received activation
  void* output = nullptr;            // [T, h] to be sent
  void* output_grad = nullptr;       // [T, h] received
  void* input_grad = nullptr;        // [T, h] to be sent
  SavedSet* saved = nullptr;
  double* loss_sum = nullptr;  // device; the forward of a head adds its sum over the T tokens
};

// When a step could start, waiting for tp neighbours excluded, and when it ended: stamps of the
// Ops' lanes.
using StepTiming = Timing;

class ChunkRunner {
 public:
  // `tp_group` may be null when tp is 1. All references must outlive this. `loss_scale` multiplies
  // the gradient of the summed loss: 1 / tokens of the whole step.
  ChunkRunner(Ops& ops, const ModelSpec& model, const ChunkShape& chunk, Weights& weights,
              const ScratchSet& scratch, Group* tp_group, float loss_scale);

  // Performs one step of the lists of costmodel/steps.h. An op it has no routine for is a broken
  // invariant that names it.
  void run(const Step& step, MicrobatchView* view);
  StepTiming run_timed(const Step& step, MicrobatchView* view);

 private:
  struct LayerNames;  // slots of a layer's weights, made once
  void forward(const Step& step, MicrobatchView* view);
  void backward_input(const Step& step, MicrobatchView* view);
  void backward_weight(const Step& step, MicrobatchView* view);
  void embed_forward(MicrobatchView* view);
  void loss_forward(const Step& step, MicrobatchView* view);
  void loss_gather(const Step& step, MicrobatchView* view);
  void reduce(void* data);

  // Tensors by name, wherever they live: saved, rebuilt or messages.
  void* act(Saved name, const Step& step, const MicrobatchView& view) const;
  // Statistics and sums, which are fp32 whatever the compute type.
  float* stats(Saved name, const Step& step, const MicrobatchView& view) const {
    return static_cast<float*>(act(name, step, view));
  }
  float* loss_parts(Scratch name) const { return static_cast<float*>(scratch_.at(name)); }
  void* layer_input(int64_t layer, const MicrobatchView& view) const;
  void* layer_output(int64_t layer, const MicrobatchView& view) const;
  void* output_grad(int64_t layer, const MicrobatchView& view) const;
  void* input_grad(int64_t layer, const MicrobatchView& view) const;
  const void* value(const Step& step, const char* name) const;
  float* grad(const Step& step, const char* name) const;
  std::string head_slot() const;
  int64_t vocab_first() const;
  int64_t vocab_valid() const;

  Ops& ops_;
  const ModelSpec& model_;
  ChunkShape chunk_;
  Weights& weights_;
  Group* tp_;
  float loss_scale_;
  const ScratchSet& scratch_;
  // Local widths.
  int64_t T_, h_, qkv_, context_, ffn_, up_, vocab_share_;
  bool gated_;
  // The activation is done with its neighbours: kUp then holds its input, bias included, and the
  // steps of its own are over at once.
  bool fused_;
  AttentionShape attention_;
  float eps_;
  std::optional<Timing> collective_;  // of the step under way, when it was one
};

}  // namespace shardwright
