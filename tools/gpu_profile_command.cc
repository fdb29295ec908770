#include "tools/gpu_profile_command.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "executor/comm/thread_comm.h"
#include "executor/profile/gpu_profile.h"
#include "tools/exit_codes.h"
#include "tools/profile_output.h"

namespace shardwright {
namespace {

constexpr std::chrono::seconds kDeadline{120};

GpuProfile measure_gpus(const std::vector<GpuInfo>& gpus, const ProfileOptions& options) {
  GpuProfile out;
  run_ranks(static_cast<int>(gpus.size()), kDeadline, [&](Communicator& host) {
    GpuRankOptions rank_options;
    rank_options.gpu = host.rank();
    rank_options.deadline = kDeadline;
    const auto rank = make_gpu_rank(host, rank_options);
    GpuProfile mine = profile_gpu(rank->comm(), rank->ops(), gpus[host.rank()], options);
    if (host.rank() == 0) out = std::move(mine);
  });
  return out;
}

Json figures_json(const GpuProfile& profile, const std::string& path) {
  const DeviceProfile& device = profile.cluster.device_of(0);
  const GpuFigures& figures = profile.figures;
  return {{"path", path},
          {"device", device.name},
          {"gpus", profile.cluster.num_devices()},
          {"source", device.source},
          {"memory_gb_per_s", device.memory_bytes_per_s / 1e9},
          {"launch_us", figures.launch_s * 1e6},
          {"to_device_gb_per_s", figures.host_bytes_per_s[0] / 1e9},
          {"to_host_gb_per_s", figures.host_bytes_per_s[1] / 1e9},
          {"gemm_short_tflops", figures.short_flops_per_s / 1e12},
          {"gemm_sustained_tflops", figures.sustained_flops_per_s / 1e12},
          {"send_gb_per_s", profile.cluster.levels.front().bytes_per_s / 1e9}};
}

void print(const GpuProfile& profile, const std::string& path, std::ostream& out) {
  const DeviceProfile& device = profile.cluster.device_of(0);
  const GpuFigures& figures = profile.figures;
  char text[512];
  std::snprintf(text, sizeof text,
                "%lld x %s\n"
                "products %.0f TFLOP/s in short runs, %.0f in long ones; memory %.0f GB/s\n"
                "launch %.1f us; host to device %.1f GB/s, back %.1f GB/s\n",
                static_cast<long long>(profile.cluster.num_devices()), device.name.c_str(),
                figures.short_flops_per_s / 1e12, figures.sustained_flops_per_s / 1e12,
                device.memory_bytes_per_s / 1e9, figures.launch_s * 1e6,
                figures.host_bytes_per_s[0] / 1e9, figures.host_bytes_per_s[1] / 1e9);
  out << text << "written to\n" << printable(path, 4000) << "\n";
}

}  // namespace

std::string default_gpu_path() {
  return (std::filesystem::path(default_machine_path()).parent_path() / "gpu.json").string();
}

int run_gpu_profile(const ProfileOptions& options, const std::string& out_path, bool json,
                    std::ostream& out, std::ostream& err) {
  const std::string path = out_path.empty() ? default_gpu_path() : out_path;
  const auto gpus = find_gpus();
  if (!gpus) {
    err << gpus.error().line() << "\n";
    return kExitBadInput;
  }
  GpuProfile profile;
  const auto measure = [&](const ProfileOptions& settings) -> std::optional<Error> {
    profile = measure_gpus(*gpus, settings);
    return std::nullopt;
  };
  const int code = measure_to_file(
      {path, out_path.empty()}, options, measure, [&] { return to_json(profile.cluster); }, err);
  if (code != kExitOk) return code;
  if (json) {
    out << figures_json(profile, path).dump(2) << "\n";
  } else {
    print(profile, path, out);
  }
  return kExitOk;
}

}  // namespace shardwright
