// WorkRunner: performs a piece of compute Work by the same Ops calls that the model's layers make
// for it, on operands in the state that training finds them in.
#pragma once

#include <vector>

#include "costmodel/work.h"
#include "executor/profile/operands.h"

namespace shardwright {

class WorkRunner {
 public:
  // `ops` outlives this. cold_bytes: see Operands.
  WorkRunner(Ops& ops, Bytes cold_bytes);
  ~WorkRunner();

  // Whether the operands of `work` fit into the pools.
  bool fits(const Work& work) const;
  // REQUIRES: fits(work), of the Ops' compute type, count 1, not a CollectiveWork.
  void run(const Work& work);

 private:
  // pass_runner.cc; rows and cols as the steps of costmodel/steps.h give them.
  void run_pass(const PassWork& work);
  void run_embedding(const PassWork& work);
  void run_norm(const PassWork& work);
  void run_residual(const PassWork& work);
  void run_activation(const PassWork& work);
  void run_loss(const PassWork& work);
  void run_flat(const PassWork& work);

  void run_gemm(const GemmWork& work);
  void run_attention(const AttentionWork& work);
  const int32_t* indices(int64_t count, int64_t below);

  Ops& ops_;
  Operands operands_;
  // On the device:
  int32_t* indices_ = nullptr;
  int64_t indices_count_ = 0, indices_below_ = 0;
  StepScalars* scalars_ = nullptr;
  double* sum_ = nullptr;
};

}  // namespace shardwright
