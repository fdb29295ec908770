// Weights: the parameters of one rank, their gradients and optimizer state, each as one flat buffer
// in the order of chunk_parameters(). All are fp32; when the compute type is another, products read
// a copy in that type, which the optimizer writes with every update.
#pragma once

#include <cstddef>
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

  // The tensor in `slot` ("layers.3.qkv.weight") in the compute type; null when the model has none.
  const void* value(const std::string& slot) const;
  float* grad(const std::string& slot) const;
  int64_t elements(const std::string& slot) const;
  int64_t size() const { return size_; }

  float* values() const { return values_; }  // the fp32 ones
  float* grads() const { return grads_; }
  const std::vector<ParameterTensor>& tensors() const { return tensors_; }

  // Adds to *sum the squares of the gradients that this rank answers for: replicated ones count on
  // the first rank of tp, a tied embedding on its first stage.
  void counted_square_sum(double* sum) const;
  // Applies the update with weight decay on matrices only, then zeroes the gradients. The two
  // halves are separate steps of the Program.
  void update_adamw(AdamWSettings settings, const StepScalars* scalars);
  void update_sgd(float weight_decay, const StepScalars* scalars);
  void zero_gradients();

 private:
  struct Run {  // consecutive elements with the same decay and counting
    int64_t first = 0, count = 0;
    bool decays = false, counted = false;
  };
  void lay_out(int64_t tp_index);
  void initialise(const ModelSpec& model, const InitSettings& init);
  void* copy_at(int64_t element) const;  // null when products read the fp32 weights themselves

  Ops& ops_;
  std::vector<ParameterTensor> tensors_;
  std::map<std::string, std::pair<int64_t, int64_t>> slots_;  // offset, elements
  std::vector<Run> runs_;
  int64_t size_ = 0;
  float *values_ = nullptr, *grads_ = nullptr, *moment1_ = nullptr, *moment2_ = nullptr;
  std::byte* copy_ = nullptr;  // [size] in the compute type; null when that is fp32
};

}  // namespace shardwright
