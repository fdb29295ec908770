// Ranks that are devices, talking through host memory: device -> pinned host -> the host
// communicator (threads or MPI) -> device. Any number of ranks may share a device, so every plan's
// mathematics can be checked on one GPU; it is slow and overlaps nothing.
//
// Sums are formed by the host communicator in fp32 and member order, also of bf16, which is widened
// on the way down and rounded once on the way up.
//
// A call waits for the lane and for the other ranks, and is done on return, as on CPU ranks; sends
// are posted. A step that talks this way cannot be recorded and repeated by the device (a CUDA
// graph): what the host does in between would be missing.
#pragma once

#include <memory>

#include "executor/comm/communicator.h"
#include "executor/ops.h"

namespace shardwright {

// Both references must outlive the communicator, which is used by the rank's own thread only.
std::unique_ptr<Communicator> make_staged_communicator(Communicator& host, Ops& ops);

}  // namespace shardwright
