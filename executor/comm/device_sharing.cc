#include "executor/comm/device_sharing.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

#include "costmodel/check.h"

namespace shardwright {

int device_for(int local_rank, int devices) {
  SW_CHECK_GE(devices, 1, "devices to choose from");
  SW_CHECK_GE(local_rank, 0, "rank on its host");
  return local_rank % devices;
}

// The host communicator moves floats: an identity travels as the bits of four of them.
int ranks_on_one_device(Communicator& host, const DeviceUuid& mine) {
  constexpr int64_t kFloats = sizeof(DeviceUuid) / sizeof(float);
  std::array<float, kFloats> carrier;
  std::memcpy(carrier.data(), mine.data(), sizeof(mine));
  std::vector<int> everyone(static_cast<size_t>(host.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  std::vector<float> all(everyone.size() * kFloats);
  host.group(everyone).all_gather(carrier.data(), all.data(), kFloats);
  std::map<DeviceUuid, int> ranks;
  int most = 0;
  for (size_t rank = 0; rank < everyone.size(); ++rank) {
    DeviceUuid uuid;
    std::memcpy(uuid.data(), all.data() + rank * kFloats, sizeof(uuid));
    most = std::max(most, ++ranks[uuid]);
  }
  return most;
}

}  // namespace shardwright
