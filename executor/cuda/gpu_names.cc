#include <array>
#include <utility>

#include "costmodel/device_name.h"
#include "executor/cuda/backend.h"

namespace shardwright {
namespace {

constexpr size_t kLongestName = 80;
// The names of profiles where a driver says it another way: what its name contains -> the profile.
// The first that fits counts: a longer name stands before one that it contains.
constexpr std::array<std::pair<const char*, const char*>, 16> kNames = {{
    {"A100-SXM4-80GB", "a100-sxm-80gb"},
    {"A100 80GB PCIe", "a100-pcie-80gb"},
    {"A100-SXM4-40GB", "a100-sxm-40gb"},
    {"H100 80GB HBM3", "h100-sxm-80gb"},
    {"H100 PCIe", "h100-pcie-80gb"},
    {"GH200", "gh200-96gb"},
    {"H200", "h200-sxm-141gb"},
    {"H20", "h20-sxm-96gb"},
    {"H800", "h800-sxm-80gb"},
    {"GB200", "gb200"},
    {"B200", "b200-sxm"},
    {"GB300", "gb300"},
    {"B300", "b300-sxm"},
    {"L40S", "l40s"},
    {"RTX 4090", "rtx-4090"},
    {"V100-SXM2-32GB", "v100-sxm2-32gb"},
}};

}  // namespace

bool parse_gpu_comm(const std::string& name, GpuComm* out) {
  for (const auto& [known, comm] :
       {std::pair{"auto", GpuComm::kAuto}, std::pair{"nccl", GpuComm::kNccl},
        std::pair{"staged", GpuComm::kStaged}}) {
    if (name != known) continue;
    *out = comm;
    return true;
  }
  return false;
}

std::string gpu_device_name(const std::string& driver_name) {
  for (const auto& [part, device] : kNames) {
    if (driver_name.find(part) != std::string::npos) return device;
  }
  const std::string name = dashed_name(driver_name, kLongestName);
  return name.empty() ? "unknown-gpu" : name;
}

}  // namespace shardwright
