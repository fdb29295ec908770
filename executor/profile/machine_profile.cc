#include "executor/profile/machine_profile.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/profile/collective_curves.h"
#include "executor/profile/machine_info.h"
#include "executor/profile/rates.h"

namespace shardwright {
namespace {

constexpr std::chrono::seconds kDeadline{60};
constexpr double kReserve = 0.05;          // of the time: threads, buffers, the point under way
constexpr double kCollectiveShare = 0.15;  // of what is left
constexpr double kBestShareOfPeak = 0.95;  // of a good matrix library
constexpr int kPeakDigits = 4;
constexpr size_t kMostRankCounts = 4;
// Exceeds what a rank has of the last cache, so that cold operands come from memory.
constexpr int64_t kColdElements = int64_t{16} << 20;
constexpr int64_t kQuickElements = int64_t{1} << 20;
constexpr int64_t kOperandsPerRank = 8;  // two cold pools, hot slots, the kernels' own scratch

class MachineProfiler {
 public:
  MachineProfiler(const ProfileOptions& options, const MachineInfo& info)
      : options_(options), info_(info) {
    grid_.quick = options.quick;
    const Bytes room = info.memory_bytes / info.cores / 2;
    const int64_t most = room / kOperandsPerRank / static_cast<Bytes>(sizeof(float));
    grid_.most_elements = std::min(options.quick ? kQuickElements : kColdElements, most);
  }

  ClusterSpec run() {
    const std::vector<int64_t> counts = rank_counts(info_.cores);
    const double seconds = options_.max_seconds * (1 - kReserve);
    const double collectives = info_.cores > 1 ? seconds * kCollectiveShare : 0;
    const double per_count = (seconds - collectives) / static_cast<double>(counts.size());
    std::vector<MeasuredRates> rates;
    for (int64_t count : counts) rates.push_back(measure_compute(count, per_count));
    DeviceProfile device = make_device(rates);
    LinkLevel level = make_level(device);
    if (info_.cores > 1) add_curves(collectives, &level);
    return make_cluster(std::move(device), std::move(level));
  }

 private:
  Sampling sampling() const {
    Sampling out;
    if (options_.quick) {
      out.most_samples = out.samples;
      out.sample_ns /= 4;
      out.point_ns = 0;
    }
    return out;
  }

  MeasuredRates measure_compute(int64_t ranks, double seconds) {
    const int64_t begin_ns = monotonic_ns();
    MeasuredRates out;
    run_ranks(static_cast<int>(ranks), kDeadline, [&](Communicator& comm) {
      std::vector<int> all(static_cast<size_t>(ranks));
      std::iota(all.begin(), all.end(), 0);
      const auto ops = make_cpu_ops(comm.rank());
      WorkRunner runner(*ops, grid_.most_elements * static_cast<Bytes>(sizeof(float)));
      RankBench bench(comm.group(all), sampling());
      const double left = seconds - to_seconds(monotonic_ns() - begin_ns);
      MeasuredRates mine =
          measure_rates(bench, runner, grid_, bench.agreed_max(left), options_.progress);
      if (comm.rank() == 0) out = std::move(mine);
    });
    return out;
  }

  DeviceProfile make_device(const std::vector<MeasuredRates>& rates) const {
    DeviceProfile out;
    out.name = core_name(info_.cpu_model);
    out.source = describe_source(info_);
    out.memory_bytes = info_.memory_bytes / info_.cores;
    Peaks best;
    for (const MeasuredRates& set : rates) {
      const Peaks peaks = peaks_of(set);
      best.flops_per_s = std::max(best.flops_per_s, peaks.flops_per_s);
      best.bytes_per_s = std::max(best.bytes_per_s, peaks.bytes_per_s);
    }
    best.flops_per_s = rounded(best.flops_per_s / kBestShareOfPeak, kPeakDigits);
    best.bytes_per_s = rounded(best.bytes_per_s, kPeakDigits);
    out.peak_flops_per_s[DataType::kFp32] = best.flops_per_s;
    out.memory_bytes_per_s = best.bytes_per_s;
    out.launch_s = 0;  // a call's own cost is within every measured time
    for (const MeasuredRates& set : rates) out.rates.push_back(fit_rates(set, grid_, best));
    out.pass_floor_s = out.rates.front().passes.at(PassKind::kCopy).front().seconds;
    return out;
  }

  // Until curves say better: through the memory that all cores share.
  LinkLevel make_level(const DeviceProfile& device) const {
    LinkLevel out;
    out.name = "shared-memory";
    out.size = info_.cores;
    out.bytes_per_s = device.memory_bytes_per_s;
    out.latency_s = 1e-6;
    out.topology = "switch";
    return out;
  }

  void add_curves(double seconds, LinkLevel* level) {
    const CollectiveOptions settings{
        collective_sizes(options_.quick, grid_.most_elements * static_cast<Bytes>(sizeof(float))),
        seconds, options_.quick ? 1 : 2};
    run_ranks(static_cast<int>(info_.cores), kDeadline, [&](Communicator& comm) {
      const auto ops = make_cpu_ops(comm.rank());
      auto curves = measure_collectives(comm, *ops, settings, options_.progress);
      if (comm.rank() == 0) level->curves = std::move(curves);
    });
    // The formula's figures, for what has no curve: those of a message between two ranks.
    const CollectiveCurve& send = level->curves.front();
    level->latency_s = send.points.front().seconds;
    level->bytes_per_s = rounded(send.points.back().size / send.points.back().seconds, kPeakDigits);
  }

  ClusterSpec make_cluster(DeviceProfile device, LinkLevel level) const {
    ClusterSpec out;
    out.name = "this-machine";
    out.figures_source = device.source;
    out.groups = {{device.name, info_.cores, 1}};
    out.levels = {std::move(level)};
    out.devices.emplace(device.name, device);
    return out;
  }

  const ProfileOptions& options_;
  const MachineInfo& info_;
  GridOptions grid_;
};

}  // namespace

std::vector<int64_t> rank_counts(int64_t cores) {
  std::vector<int64_t> out = {1};
  for (int64_t count = 2; count < cores; count *= 2) out.push_back(count);
  if (cores > 1) out.push_back(cores);
  // Keeps the ends: the count next to all cores differs least from it.
  while (out.size() > kMostRankCounts) out.erase(out.end() - 2);
  return out;
}

Result<ClusterSpec> profile_machine(const ProfileOptions& options) {
  if (!(options.max_seconds >= 1)) {
    return Error{"command line", "max-seconds", std::to_string(options.max_seconds),
                 "at least 1 second"};
  }
  const MachineInfo info = read_machine_info();
  return MachineProfiler(options, info).run();
}

}  // namespace shardwright
