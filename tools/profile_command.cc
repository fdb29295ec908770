#include "tools/profile_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/pricer.h"
#include "tools/exit_codes.h"
#include "tools/profile_output.h"

namespace shardwright {
namespace {

constexpr size_t kTextWidth = 90;  // of names, within 100 columns

struct Summary {
  std::string path, device;
  double seconds = 0;
  int64_t cores = 0;
  double gibibytes_per_core = 0, peak_gflops = 0, gigabytes_per_s = 0;
  double all_reduce_us = 0, send_us = 0, link_gigabytes_per_s = 0;
};

double message_us(const ClusterSpec& cluster, CollectiveKind kind, Bytes bytes) {
  if (cluster.num_devices() < 2) return 0;
  return collective_s(cluster, {kind, Axis::kDp, bytes}, {0, 1, 2}) * 1e6;
}

Summary summarise(const ClusterSpec& cluster, const std::string& path, double seconds) {
  const DeviceProfile& device = cluster.device_of(0);
  Summary out;
  out.path = path;
  out.device = device.name;
  out.seconds = seconds;
  out.cores = cluster.num_devices();
  out.gibibytes_per_core = static_cast<double>(device.memory_bytes) / (1 << 30);
  out.peak_gflops = device.peak_flops_per_s.at(DataType::kFp32) / 1e9;
  out.gigabytes_per_s = device.memory_bytes_per_s / 1e9;
  out.all_reduce_us = message_us(cluster, CollectiveKind::kAllReduce, 16);
  out.send_us = message_us(cluster, CollectiveKind::kSend, 16);
  out.link_gigabytes_per_s = cluster.levels.front().bytes_per_s / 1e9;
  return out;
}

// Rates of one rank at each number of active ranks, at sizes of a small model.
struct ActiveRow {
  int64_t active = 0;
  double gemm_gflops = 0, attention_gflops = 0, adamw_gigabytes_per_s = 0;
};

std::vector<ActiveRow> active_rows(const ClusterSpec& cluster) {
  const GemmWork gemm{GemmLayout::kForward, 1024, 1024, 1024};
  AttentionWork attention;
  attention.batch = 4;
  attention.seq = 256;
  attention.heads = attention.kv_heads = 8;
  attention.head_dim = attention.v_head_dim = 64;
  const PassWork adamw{PassKind::kAdamW, 1, 8 << 20, (Bytes{7} * 4 * 8) << 20};  // not cached
  std::vector<ActiveRow> out;
  for (const RateSet& rates : cluster.device_of(0).rates) {
    const Pricer pricer(cluster, 0, rates.active_ranks);
    out.push_back({rates.active_ranks, gemm.flops() / pricer.gemm_s(gemm) / 1e9,
                   attention.flops() / pricer.attention_s(attention) / 1e9,
                   static_cast<double>(adamw.bytes) / pricer.pass_s(adamw) / 1e9});
  }
  return out;
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

void print_rows(const std::vector<ActiveRow>& rows, std::ostream& out) {
  out << "active ranks  GEMM GFLOP/s  attention GFLOP/s  AdamW GB/s   (of each rank)\n";
  for (const ActiveRow& row : rows) {
    out << formatted("%12.0f", static_cast<double>(row.active))
        << formatted("%14.1f", row.gemm_gflops) << formatted("%19.1f", row.attention_gflops)
        << formatted("%12.1f", row.adamw_gigabytes_per_s) << "\n";
  }
}

void print(const Summary& summary, const std::vector<ActiveRow>& rows, std::ostream& out) {
  out << printable(summary.device, kTextWidth) << ": " << summary.cores << " cores, "
      << formatted("%.1f", summary.gibibytes_per_core) << " GiB each, peak "
      << formatted("%.1f", summary.peak_gflops) << " GFLOP/s and "
      << formatted("%.1f", summary.gigabytes_per_s) << " GB/s\n\n";
  print_rows(rows, out);
  if (summary.cores > 1) {
    out << "\nbetween two ranks: all-reduce of 16 bytes "
        << formatted("%.2f", summary.all_reduce_us) << " us, send "
        << formatted("%.2f", summary.send_us) << " us, large sends "
        << formatted("%.1f", summary.link_gigabytes_per_s) << " GB/s\n";
  }
  out << "\nmeasured in " << formatted("%.1f", summary.seconds) << " s, written to\n"
      << printable(summary.path, 4000) << "\n";
}

Json to_json(const Summary& summary, const std::vector<ActiveRow>& rows) {
  Json out = {{"path", summary.path},
              {"device", summary.device},
              {"cores", summary.cores},
              {"seconds", summary.seconds},
              {"peak_fp32_gflops", summary.peak_gflops},
              {"memory_gb_per_s", summary.gigabytes_per_s},
              {"all_reduce_latency_us", summary.all_reduce_us},
              {"send_latency_us", summary.send_us},
              {"send_gb_per_s", summary.link_gigabytes_per_s},
              {"active", Json::array()}};
  for (const ActiveRow& row : rows) {
    out["active"].push_back({{"active_ranks", row.active},
                             {"gemm_gflops", row.gemm_gflops},
                             {"attention_gflops", row.attention_gflops},
                             {"adamw_gb_per_s", row.adamw_gigabytes_per_s}});
  }
  return out;
}

}  // namespace

int run_profile(const ProfileOptions& options, const std::string& out_path, bool json,
                std::ostream& out, std::ostream& err) {
  const std::string path = out_path.empty() ? default_machine_path() : out_path;
  const int64_t begin_ns = monotonic_ns();
  ClusterSpec cluster;
  const auto measure = [&](const ProfileOptions& settings) -> std::optional<Error> {
    auto measured = profile_machine(settings);
    if (!measured) return measured.error();
    cluster = std::move(measured).value();
    return std::nullopt;
  };
  const int code = measure_to_file(
      {path, out_path.empty()}, options, measure, [&] { return to_json(cluster); }, err);
  if (code != kExitOk) return code;
  const Summary summary = summarise(cluster, path, to_seconds(monotonic_ns() - begin_ns));
  if (json) {
    out << to_json(summary, active_rows(cluster)).dump(2) << "\n";
  } else {
    print(summary, active_rows(cluster), out);
  }
  return kExitOk;
}

}  // namespace shardwright
