#include <gtest/gtest.h>

#include "executor/cuda/backend.h"

namespace shardwright {
namespace {

// What drivers print, and what profiles/devices has.
TEST(GpuNames, DriversNamesAreProfiles) {
  EXPECT_EQ(gpu_device_name("NVIDIA H100 80GB HBM3"), "h100-sxm-80gb");
  EXPECT_EQ(gpu_device_name("NVIDIA H200"), "h200-sxm-141gb");
  EXPECT_EQ(gpu_device_name("NVIDIA A100-SXM4-80GB"), "a100-sxm-80gb");
  EXPECT_EQ(gpu_device_name("NVIDIA GB200"), "gb200");
  EXPECT_EQ(gpu_device_name("NVIDIA B200"), "b200-sxm");
  EXPECT_EQ(gpu_device_name("NVIDIA GB300"), "gb300");
  EXPECT_EQ(gpu_device_name("NVIDIA GH200 480GB"), "gh200-96gb");
  EXPECT_EQ(gpu_device_name("NVIDIA H20"), "h20-sxm-96gb");
  EXPECT_EQ(gpu_device_name("NVIDIA GeForce RTX 4090"), "rtx-4090");
}

TEST(GpuNames, OthersAreDashed) {
  EXPECT_EQ(gpu_device_name("NVIDIA RTX A6000"), "nvidia-rtx-a6000");
  EXPECT_EQ(gpu_device_name("  (?) "), "unknown-gpu");
}

TEST(GpuNames, WaysToTalk) {
  GpuComm comm = GpuComm::kAuto;
  EXPECT_TRUE(parse_gpu_comm("staged", &comm));
  EXPECT_EQ(comm, GpuComm::kStaged);
  EXPECT_FALSE(parse_gpu_comm("rdma", &comm));
}

}  // namespace
}  // namespace shardwright
