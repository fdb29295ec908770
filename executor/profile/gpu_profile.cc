#include "executor/profile/gpu_profile.h"

#include <algorithm>
#include <numeric>

#include "executor/profile/collective_curves.h"
#include "executor/profile/machine_info.h"
#include "executor/profile/rates.h"

namespace shardwright {
namespace {

// Shares of the time: what collectives leave goes to rates.
constexpr double kCollectiveShare = 0.3, kSustainedShare = 0.1;
// Beyond this a point gains nothing: the last cache of any GPU of today is smaller.
constexpr int64_t kGpuElements = int64_t{1} << 28;
constexpr int64_t kQuickElements = int64_t{1} << 20;
constexpr int64_t kOperandsPerRank = 8;  // two cold pools, hot slots, results
constexpr double kBestShareOfPeak = 0.95;
constexpr int kDigits = 4;

class GpuProfiler {
 public:
  GpuProfiler(Communicator& comm, Ops& ops, const GpuInfo& gpu, const ProfileOptions& options)
      : comm_(comm), ops_(ops), gpu_(gpu), options_(options) {
    grid_.scale = options.quick ? GridScale::kCpuCore : GridScale::kGpu;
    grid_.quick = options.quick;
    grid_.type = ops.type();
    const int64_t room = gpu.memory_bytes / 2 / kOperandsPerRank / Bytes{sizeof(float)};
    grid_.most_elements = std::min(options.quick ? kQuickElements : kGpuElements, room);
  }

  GpuProfile run() {
    const double seconds = options_.max_seconds;
    const double rest = comm_.size() > 1 ? 1 - kCollectiveShare : 1;
    const MeasuredRates rates = measure(seconds * (rest - kSustainedShare));
    GpuProfile out;
    out.figures = figures(seconds * kSustainedShare);
    DeviceProfile device = make_device(rates, out.figures);
    LinkLevel level = make_level(seconds * kCollectiveShare);
    out.cluster = make_cluster(std::move(device), std::move(level));
    return out;
  }

 private:
  Group& host_world() {
    std::vector<int> all(static_cast<size_t>(comm_.size()));
    std::iota(all.begin(), all.end(), 0);
    return comm_.host().group(all);
  }
  // The device's clock, as far as a host can read it: calls are in order, so a call is done when
  // the device has nothing left to do.
  Clock clock() {
    return [this] {
      ops_.synchronize();
      return monotonic_ns();
    };
  }
  Sampling sampling() const {
    Sampling out;
    out.sample_ns = options_.quick ? 200'000 : 2'000'000;  // well above what waiting costs
    out.point_ns = 5 * out.sample_ns;
    return out;
  }

  MeasuredRates measure(double seconds) {
    WorkRunner runner(ops_, grid_.most_elements * Bytes{sizeof(float)});
    RankBench bench(host_world(), sampling(), clock());
    return measure_rates(bench, runner, grid_, seconds, options_.progress);
  }

  GpuFigures figures(double seconds) {
    RankBench bench(host_world(), sampling(), clock());
    GpuFigures out;
    float* one = ops_.allocate_floats(1);
    out.launch_s = bench.measure([&] { ops_.fill(one, 0.0f, 1); });
    ops_.free(one);
    copies(bench, &out);
    sustained(bench, seconds, &out);
    return out;
  }

  void copies(RankBench& bench, GpuFigures* out) {
    const Bytes bytes = options_.quick ? Bytes{1} << 20 : Bytes{64} << 20;
    void* host = ops_.host_block(bytes);
    void* block = ops_.allocate(bytes);
    const auto size = static_cast<double>(bytes);
    out->host_bytes_per_s[0] = size / bench.measure([&] { ops_.upload(block, host, bytes); });
    out->host_bytes_per_s[1] = size / bench.measure([&] { ops_.download(host, block, bytes); });
    ops_.free(block);
  }

  // Power and temperature lower the clocks of long runs.
  void sustained(RankBench& bench, double seconds, GpuFigures* out) {
    const int64_t side = options_.quick ? 256 : 8192;
    const GemmWork work{GemmLayout::kForward, side, side, side, 1, ops_.type()};
    WorkRunner runner(ops_, side * side * Bytes{sizeof(float)});
    out->short_flops_per_s = work.flops() / bench.measure([&] { runner.run(work); });
    const int64_t end_ns = monotonic_ns() + to_nanoseconds(seconds);
    double last_s = work.flops() / out->short_flops_per_s;
    while (bench.agreed_max(to_seconds(monotonic_ns() - end_ns)) < 0) {
      last_s = bench.measure([&] { runner.run(work); });
    }
    out->sustained_flops_per_s = work.flops() / last_s;
  }

  DeviceProfile make_device(const MeasuredRates& rates, const GpuFigures& figures) const {
    DeviceProfile out;
    out.name = gpu_.device;
    out.source = "measured by shardwright profile on " + today() + ": " + gpu_.name + ", " +
                 std::to_string(gpu_.sm_count) + " SMs, at most " +
                 std::to_string(static_cast<int>(gpu_.clock_mhz)) + " MHz, " + gpu_.software;
    out.memory_bytes = gpu_.memory_bytes;
    Peaks peaks = peaks_of(rates);
    peaks.flops_per_s =
        rounded(std::max(peaks.flops_per_s, figures.short_flops_per_s) / kBestShareOfPeak, kDigits);
    peaks.bytes_per_s = rounded(peaks.bytes_per_s / kBestShareOfPeak, kDigits);
    out.peak_flops_per_s[ops_.type()] = peaks.flops_per_s;
    out.memory_bytes_per_s = peaks.bytes_per_s;
    out.launch_s = 0;  // a launch's own cost is within every measured time
    out.overlaps_communication = true;
    out.rates.push_back(fit_rates(rates, grid_, peaks));
    out.pass_floor_s = out.rates.front().passes.at(PassKind::kCopy).front().seconds;
    return out;
  }

  LinkLevel make_level(double seconds) {
    LinkLevel out;
    out.name = "node";
    out.size = comm_.size();
    out.topology = "switch";
    out.bytes_per_s = 1e9;  // of one device there is no link; no price asks for it
    out.latency_s = 1e-6;
    if (comm_.size() == 1) return out;
    const CollectiveOptions settings{
        collective_sizes(options_.quick, grid_.most_elements * Bytes{sizeof(float)}), seconds, 1};
    out.curves = measure_collectives(comm_, ops_, settings, options_.progress);
    if (comm_.rank() != 0) return out;
    const CollectiveCurve& send = out.curves.front();
    out.latency_s = send.points.front().seconds;
    out.bytes_per_s = rounded(send.points.back().size / send.points.back().seconds, kDigits);
    return out;
  }

  ClusterSpec make_cluster(DeviceProfile device, LinkLevel level) const {
    ClusterSpec out;
    out.name = "these-gpus";
    out.figures_source = device.source;
    out.groups = {{device.name, comm_.size(), 1}};
    out.levels = {std::move(level)};
    out.devices.emplace(device.name, std::move(device));
    return out;
  }

  Communicator& comm_;
  Ops& ops_;
  const GpuInfo& gpu_;
  const ProfileOptions& options_;
  GridOptions grid_;
};

}  // namespace

GpuProfile profile_gpu(Communicator& comm, Ops& ops, const GpuInfo& gpu,
                       const ProfileOptions& options) {
  return GpuProfiler(comm, ops, gpu, options).run();
}

}  // namespace shardwright
