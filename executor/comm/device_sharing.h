// Which device a rank takes, and whether ranks found themselves on one device: then NCCL does not
// work for them and they talk through host memory.
#pragma once

#include <array>

#include "executor/comm/communicator.h"

namespace shardwright {

// The device for the rank that is the `local_rank`-th of its host, of the `devices` (at least 1)
// that this process sees. Ranks take them in turn; a launcher that gives each rank a device of its
// own (--gpus-per-task=1) leaves one to see, and that one it is.
int device_for(int local_rank, int devices);

// 16 bytes that name a device in all the world (cudaDeviceProp::uuid).
using DeviceUuid = std::array<unsigned char, 16>;

// The most ranks that are on one device; 1 when every rank has its own. Called by all ranks
// together; all get the same answer.
int ranks_on_one_device(Communicator& host, const DeviceUuid& mine);

}  // namespace shardwright
