// The CPU backend of Ops: fp32, one thread per object. Every rank of a run (a thread or a process)
// owns one; two threads never share an object.
#pragma once

#include <memory>

#include "executor/ops.h"

namespace shardwright {

// `rank` only names the owner in errors. Allocation failure and a failing matrix library throw
// ExecError from the call that met them.
std::unique_ptr<Ops> make_cpu_ops(int rank);

}  // namespace shardwright
