// Return codes of CUDA's libraries as exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "executor/exec_error.h"

namespace shardwright {

// Throws ExecError naming rank, call and the runtime's own words.
inline void check_cuda(int rank, const char* call, cudaError_t code) {
  if (code == cudaSuccess) return;
  throw ExecError(rank, call,
                  std::string(cudaGetErrorName(code)) + ": " + cudaGetErrorString(code));
}

}  // namespace shardwright
