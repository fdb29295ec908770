// NCCL among several ranks that share one GPU, for checking the NCCL path where there is only one.
#pragma once

namespace shardwright {

// NCCL 2.28 refuses two ranks of one host on one GPU ("Duplicate GPU detected", init.cc of 2.28.9:
// equal host hash and bus id). The hash comes from NCCL_HOSTID when that is set (getHostHash in
// misc/utils.cc), so with a name of its own every process counts as another host, and the data goes
// through sockets: right values, no speed. Sets, for this process:
//   NCCL_HOSTID=shardwright-rank-RANK, always;
//   NCCL_SOCKET_IFNAME=lo, NCCL_IB_DISABLE=1, NCCL_NVLS_ENABLE=0, unless the user has set them.
// Call it before the first call of NCCL, which reads the name once. Ranks must be processes:
// threads of one process have one environment. Use kSharedGpuLimits. That NCCL lets this pass is
// nowhere promised: when the start fails, say so and use the staged path.
void let_ranks_share_a_gpu(int rank);

}  // namespace shardwright
