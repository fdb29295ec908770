#include "executor/comm/nccl_environment.h"

#include <cstdlib>
#include <string>

namespace shardwright {

void let_ranks_share_a_gpu(int rank) {
  setenv("NCCL_HOSTID", ("shardwright-rank-" + std::to_string(rank)).c_str(), 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 0);
  setenv("NCCL_IB_DISABLE", "1", 0);
  setenv("NCCL_NVLS_ENABLE", "0", 0);
}

}  // namespace shardwright
