// Measures GPUs through the executor's own Ops and communicator, as a cluster of one node: device
// profile and cluster in one file, like machine_profile.h for cores.
//
// Measured: products in three layouts (48 shapes each), attention forward and backward for heads of
// 64 and 128, every memory pass, copies from and to the host, the rate of a product repeated for
// seconds beside its rate in a short run, and all collectives of the GPUs together. Nothing of the
// card's settings is changed.
#pragma once

#include "costmodel/cluster_spec.h"
#include "executor/cuda/backend.h"
#include "executor/profile/machine_profile.h"

namespace shardwright {

// Beside the profile, for people: what no price asks for.
struct GpuFigures {
  double launch_s = 0;               // of the smallest kernel, one of many in a row
  double host_bytes_per_s[2] = {};   // pinned memory to the device, and back
  double short_flops_per_s = 0;      // the best product of a short run
  double sustained_flops_per_s = 0;  // the same product, repeated for seconds
};

struct GpuProfile {
  ClusterSpec cluster;
  GpuFigures figures;
};

// Called by all ranks of `comm` together, one GPU each; the result is complete on rank 0. Rates are
// of rank 0's GPU while the others measure too. Throws ExecError.
GpuProfile profile_gpu(Communicator& comm, Ops& ops, const GpuInfo& gpu,
                       const ProfileOptions& options);

}  // namespace shardwright
