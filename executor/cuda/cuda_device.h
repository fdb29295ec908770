// The GPUs of this machine, by the CUDA runtime. Without the GPU backend in the build, the
// functions are there too and say so.
#pragma once

#include <memory>

#include "costmodel/result.h"
#include "executor/cuda/device.h"

namespace shardwright {

// At least 1, or "no CUDA device: " and the driver's reason.
Result<int> cuda_device_count();

// Device `index` of this process, for `rank`. REQUIRES: index < cuda_device_count().
std::unique_ptr<Device> make_cuda_device(int index, int rank);

// The error of cuda_device_count() for a reason.
inline Error no_cuda_device(const std::string& reason) {
  return {"no CUDA device", reason, "", ""};
}

}  // namespace shardwright
