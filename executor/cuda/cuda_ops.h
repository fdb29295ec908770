// The GPU backend of Ops. Every rank of a run owns one, on a Device of its own.
#pragma once

#include <memory>

#include "executor/cuda/device.h"
#include "executor/ops.h"

namespace shardwright {

// `type` is the compute type: fp32 or bf16. The device must outlive the object. Failures throw
// ExecError, those of the device perhaps only at the end of the step.
std::unique_ptr<Ops> make_cuda_ops(Device& device, int rank, DataType type);

}  // namespace shardwright
