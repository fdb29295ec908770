// Weights: the parameters of one rank, their gradients and optimizer state, each as one flat buffer
// in the order of chunk_parameters().
#pragma once

#include <map>
#include <string>
#include <vector>

#include "costmodel/memory.h"
#include "costmodel/parameters.h"
#include "executor/ops.h"

namespace shardwright {

// Initial weights: normal(0, std), smaller for projections into the residual stream, from `seed`.
struct InitSettings {
  uint64_t seed = 1;
  float std = 0.02f;  // GPT-2's
};

class Weights {
 public:
  // Allocates and initialises: every element depends on its parameter's name and its place in the
  // unsharded tensor only, so all plans start from the same model. Gradients start at zero.
  Weights(Ops& ops, const ModelSpec& model, const ChunkShape& chunk, int64_t tp_index,
          OptimizerKind optimizer, const InitSettings& init);
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  // The tensor in `slot` ("layers.3.qkv.weight"); null when the model has none.
  const float* value(const std::string& slot) const;
  float* grad(const std::string& slot) const;
  int64_t elements(const std::string& slot) const;
  int64_t size() const { return size_; }

  float* values() const { return values_; }
  float* grads() const { return grads_; }
  const std::vector<ParameterTensor>& tensors() const { return tensors_; }

  // Sum of squares of the gradients that this rank answers for: replicated ones count on the first
  // rank of tp, a tied embedding on its first stage.
  double counted_square_sum(Ops& ops) const;
  // Applies the update with weight decay on matrices only, then zeroes the gradients. The two
  // halves are separate steps of the Program.
  void update_adamw(Ops& ops, AdamWSettings settings);
  void update_sgd(Ops& ops, float lr, float grad_scale, float weight_decay);
  void zero_gradients(Ops& ops);

 private:
  struct Run {  // consecutive elements with the same decay and counting
    int64_t first = 0, count = 0;
    bool decays = false, counted = false;
  };
  void lay_out(int64_t tp_index);
  void initialise(const ModelSpec& model, const InitSettings& init);

  Ops& ops_;
  std::vector<ParameterTensor> tensors_;
  std::map<std::string, std::pair<int64_t, int64_t>> slots_;  // offset, elements
  std::vector<Run> runs_;
  int64_t size_ = 0;
  float *values_ = nullptr, *grads_ = nullptr, *moment1_ = nullptr, *moment2_ = nullptr;
};

}  // namespace shardwright
