// The GPU backend of Ops. Every rank of a run owns one, on a Device of its own.
#pragma once

#include <memory>

#include "executor/cuda/device.h"
#include "executor/ops.h"

namespace shardwright {

struct CudaOptions {
  // Device memory for allocate(), taken at construction; placement rounds every block up to 256
  // bytes. 0: taken piece by piece, outside of steps only.
  Bytes arena_bytes = 0;
  Bytes piece_bytes = Bytes{8} << 20;  // of such a piece, at least
  // Kernels' own working memory on the compute lane, besides. NVIDIA recommends 32 MiB for
  // cuBLASLt on compute capability 9.0 (cuBLAS documentation, cublasSetWorkspace).
  Bytes scratch_bytes = Bytes{32} << 20;
  // Time the likely algorithms of every matrix product, between the first steps, and keep the
  // fastest. Without it, the library's first choice: results then are the same bits in every run.
  bool tune_products = true;
  // GELU (the form with tanh) inside the products before and behind it, in bf16; where the library
  // cannot, by kernels as ever. Off: it has not run on a GPU yet.
  bool fused_gelu = false;
  // Record the step as a CUDA graph and repeat it. Off: it has not run on a GPU yet.
  bool graph = false;
};

// `type` is the compute type: fp32 or bf16. The device must outlive the object. Failures throw
// ExecError, those of the device perhaps only at the end of the step. The Lanes of the object are
// a StreamSource too (executor/comm/stream_source.h).
std::unique_ptr<Ops> make_cuda_ops(Device& device, int rank, DataType type,
                                   const CudaOptions& options = {});

}  // namespace shardwright
