#include <array>
#include <cctype>
#include <utility>

#include "executor/cuda/backend.h"

namespace shardwright {
namespace {

// What a driver's name contains -> the profile. The first that fits counts.
constexpr std::array<std::pair<const char*, const char*>, 11> kNames = {{
    {"A100-SXM4-80GB", "a100-sxm-80gb"},
    {"A100 80GB PCIe", "a100-pcie-80gb"},
    {"A100-SXM4-40GB", "a100-sxm-40gb"},
    {"H100 80GB HBM3", "h100-sxm-80gb"},
    {"H100 PCIe", "h100-pcie-80gb"},
    {"H200", "h200-sxm-141gb"},
    {"GB200", "gb200"},
    {"B200", "b200-sxm"},
    {"B300", "b300-sxm"},
    {"L40S", "l40s"},
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
  std::string out;
  for (const char c : driver_name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) != 0) {
      out += static_cast<char>(std::tolower(byte));
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "unknown-gpu" : out;
}

}  // namespace shardwright
