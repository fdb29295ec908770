// The profiler of GPUs on CPU ranks: what it measures and writes does not depend on the device.
#include "executor/profile/gpu_profile.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "costmodel/pricer.h"
#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"

namespace shardwright {
namespace {

GpuProfile quick_profile(int ranks) {
  const GpuInfo gpu{"NVIDIA H100 80GB HBM3", "h100-sxm-80gb", 132, 1980,
                    Bytes{1} << 30,          "driver 1"};
  ProfileOptions options;
  options.quick = true;
  options.max_seconds = 4;
  GpuProfile out;
  run_ranks(ranks, std::chrono::seconds(60), [&](Communicator& comm) {
    const auto ops = make_cpu_ops(comm.rank());
    GpuProfile mine = profile_gpu(comm, *ops, gpu, options);
    if (comm.rank() == 0) out = std::move(mine);
  });
  return out;
}

TEST(GpuProfile, PricesAllWorkOfTwoRanks) {
  const GpuProfile profile = quick_profile(2);
  const ClusterSpec& cluster = profile.cluster;
  EXPECT_EQ(cluster.num_devices(), 2);
  const DeviceProfile& device = cluster.device_of(0);
  EXPECT_EQ(device.name, "h100-sxm-80gb");
  EXPECT_NE(device.source.find("driver 1"), std::string::npos);
  EXPECT_TRUE(device.overlaps_communication);
  const Pricer pricer(cluster, 0, 1);
  for (int layout = 0; layout < 3; ++layout) {
    const GemmWork small{static_cast<GemmLayout>(layout), 64, 64, 64};
    const GemmWork large{static_cast<GemmLayout>(layout), 512, 512, 512};
    EXPECT_GT(pricer.gemm_s(small), 0);
    EXPECT_GT(pricer.gemm_s(large), pricer.gemm_s(small));
  }
  for (int kind = 0; kind < static_cast<int>(PassKind::kCount); ++kind) {
    EXPECT_GT(pricer.pass_s({static_cast<PassKind>(kind), 64, 1024, 1 << 18}), 0);
  }
  EXPECT_GT(collective_s(cluster, {CollectiveKind::kAllReduce, Axis::kDp, 1 << 20}, {0, 1, 2}), 0);
  EXPECT_GT(profile.figures.launch_s, 0);
  EXPECT_GT(profile.figures.host_bytes_per_s[0], 0);
  EXPECT_GT(profile.figures.host_bytes_per_s[1], 0);
  EXPECT_GT(profile.figures.sustained_flops_per_s, 0);
}

// The file says all that the measurement found.
TEST(GpuProfile, IsReadBackAsWritten) {
  const ClusterSpec cluster = quick_profile(1).cluster;
  const Json json = to_json(cluster);
  const auto again = read_cluster(json, "gpu.json", "/nowhere");
  ASSERT_TRUE(again.ok()) << again.error().line();
  EXPECT_EQ(to_json(*again), json);
}

}  // namespace
}  // namespace shardwright
