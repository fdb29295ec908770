#include "costmodel/calibrate/validate_ops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "costmodel/pricer.h"

namespace shardwright {
namespace {

constexpr uint64_t kFolds = 5;
constexpr double kLargeFlops = 274877906944;  // 2^38
constexpr Bytes kMebibyte = 1 << 20;
constexpr int64_t kLargestGroup = 1024;

// A short timing runs at the clock of short timings: without the factor of long runs. One node,
// joined by the device's usual link.
ClusterSpec bench_of(DeviceProfile device) {
  device.factors.sustained = {};
  ClusterSpec out;
  out.name = out.source = device.name;
  out.groups = {{device.name, kLargestGroup, 1}};
  for (const UsualLink& link : device.links) {
    if (link.network) continue;
    out.levels = {
        {link.name, kLargestGroup, link.bytes_per_s, link.latency_s, link.topology, link.curves}};
  }
  const std::string name = device.name;
  out.devices.emplace(name, std::move(device));
  return out;
}

double predict_s(const ClusterSpec& bench, const Pricer& pricer, OpKind kind,
                 const MeasuredOp& op) {
  switch (kind) {
    case OpKind::kGemm: {
      const GemmWork& gemm = op.gemm;
      if (gemm.type != DataType::kFp8) return pricer.gemm_s(gemm);
      // The timings quantise x first.
      return pricer.gemm_s(gemm) +
             pricer.pass_s({PassKind::kQuantise, gemm.m, gemm.k, 3 * gemm.m * gemm.k});
    }
    case OpKind::kAttention:
      return pricer.attention_s(op.attention) + pricer.cache_s(op.attention);
    case OpKind::kCollectives:
      break;
  }
  return collective_s(bench, {op.collective, Axis::kTp, op.bytes}, {0, 1, op.ranks});
}

std::vector<std::string> subsets_of(OpKind kind, const MeasuredOp& op) {
  std::vector<std::string> out = {"all"};
  if (kind == OpKind::kGemm) {
    const GemmWork& gemm = op.gemm;
    if (gemm.m >= 128) out.push_back("m>=128");
    if (std::min({gemm.m, gemm.n, gemm.k}) >= 1024) out.push_back("training");
    if (std::min({gemm.m, gemm.n, gemm.k}) >= 1024 && gemm.flops() <= kLargeFlops) {
      out.push_back("training, <=2^38 FLOP");
    }
    if (!has_aligned_rows(gemm)) return out;
    if (gemm.m >= 128) out.push_back("m>=128, m%16=0");
    if (std::min({gemm.m, gemm.n, gemm.k}) >= 1024) out.push_back("training, m%16=0");
  } else if (kind == OpKind::kAttention) {
    const AttentionWork& work = op.attention;
    const bool training = work.seq >= 1024 && work.batch * work.seq >= 4096 && work.heads >= 8 &&
                          (work.head_dim == 64 || work.head_dim == 128);
    if (training) out.push_back("training");
    if (training && work.heads == work.kv_heads) out.push_back("training, multi-head");
  } else {
    if (op.bytes >= kMebibyte) out.push_back(">=1MiB");
    if (op.bytes >= 32 * kMebibyte) out.push_back(">=32MiB");
  }
  return out;
}

// Spreads nearby keys over folds (the finaliser of MurmurHash3, public domain).
uint64_t mixed(uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdULL;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return value ^ (value >> 33);
}

uint64_t fold_of(OpKind kind, const MeasuredOp& op) {
  const auto number = [](int64_t value) { return static_cast<uint64_t>(value); };
  if (kind == OpKind::kGemm) {
    return mixed(number(op.gemm.n) * 1000003 + number(op.gemm.k)) % kFolds;
  }
  if (kind == OpKind::kAttention) {
    return mixed(number(op.attention.heads) * 1000003 + number(op.attention.kv_heads) * 1009 +
                 number(op.attention.head_dim)) %
           kFolds;
  }
  return number(op.bytes);  // every message size is a fold of its own
}

// The value at a share of the way through sorted values.
double quantile(const std::vector<double>& sorted, double share) {
  const auto at = static_cast<size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(at, sorted.size() - 1)];
}

class ErrorTable {
 public:
  void add(const MeasuredOps& file, const MeasuredOp& op, double predicted_s) {
    for (const std::string& subset : subsets_of(file.kind, op)) {
      std::vector<double>& errors = errors_[{file.kind, file.device, file.type_name, subset}];
      errors.push_back(100 * (predicted_s / op.seconds - 1));
    }
  }

  std::vector<OpsErrors> summary() const {
    std::vector<OpsErrors> out;
    for (const auto& [key, errors] : errors_) {
      std::vector<double> with_sign = errors, absolute;
      for (double error : errors) absolute.push_back(std::abs(error));
      std::sort(with_sign.begin(), with_sign.end());
      std::sort(absolute.begin(), absolute.end());
      OpsErrors row;
      std::tie(row.kind, row.device, row.type, row.subset) = key;
      row.rows = static_cast<int64_t>(errors.size());
      row.median_abs_pct = quantile(absolute, 0.5);
      row.p90_abs_pct = quantile(absolute, 0.9);
      row.max_abs_pct = absolute.back();
      row.bias_pct = quantile(with_sign, 0.5);
      out.push_back(row);
    }
    return out;
  }

 private:
  std::map<std::tuple<OpKind, std::string, std::string, std::string>, std::vector<double>> errors_;
};

void score(const MeasuredOps& file, const DeviceProfile& profile,
           const std::function<bool(const MeasuredOp&)>& wanted, ErrorTable* table) {
  const ClusterSpec bench = bench_of(profile);
  const Pricer pricer(bench, 0, 1);
  for (const MeasuredOp& op : file.ops) {
    if (wanted(op)) table->add(file, op, predict_s(bench, pricer, file.kind, op));
  }
}

// Why the profile cannot price the file; empty when it can.
std::string refusal(const MeasuredOps& file, const DeviceProfile& profile) {
  if (file.kind != OpKind::kCollectives) {
    return profile.peak_flops_per_s.count(file.type) > 0
               ? ""
               : profile.name + " has no peak for " + name_of(file.type);
  }
  const bool linked = std::any_of(profile.links.begin(), profile.links.end(),
                                  [](const UsualLink& link) { return !link.network; });
  return linked ? "" : profile.name + " has no link inside a node";
}

// Scores one file with a profile.
using Scorer =
    std::function<std::optional<Error>(const MeasuredOps&, const DeviceProfile&, ErrorTable*)>;

OpsReport run(const std::vector<std::string>& files, const std::string& profiles_dir,
              const Scorer& scorer) {
  OpsReport out;
  ErrorTable table;
  for (const std::string& path : files) {
    OpsFileReport& report = out.files.emplace_back();
    report.file = path;
    const Result<MeasuredOps> file = read_measured_ops(path);
    if (!file) {
      report.refused = file.error().line();
      continue;
    }
    report.rows = static_cast<int64_t>(file->ops.size());
    report.lines = file->refused;
    const Result<DeviceProfile> profile = load_shipped_device(file->device, profiles_dir);
    report.refused = profile ? refusal(*file, *profile) : profile.error().line();
    if (!report.refused.empty() || file->ops.empty()) continue;
    if (auto error = scorer(*file, *profile, &table)) report.refused = error->line();
  }
  out.errors = table.summary();
  return out;
}

// The profile fitted without one fold, scored on it.
std::optional<Error> score_folds(const MeasuredOps& file, const DeviceProfile& profile,
                                 const CalibrateOptions& options, ErrorTable* table) {
  std::set<uint64_t> folds;
  for (const MeasuredOp& op : file.ops) folds.insert(fold_of(file.kind, op));
  if (folds.size() < 2) return Error{file.file, "", "one fold", "rows of several shapes"};
  for (uint64_t fold : folds) {
    MeasuredOps rest = file;
    std::erase_if(rest.ops, [&](const MeasuredOp& op) { return fold_of(file.kind, op) == fold; });
    const Result<DeviceProfile> fitted = calibrate_device(profile, {rest}, options);
    if (!fitted) return fitted.error();
    score(
        file, *fitted, [&](const MeasuredOp& op) { return fold_of(file.kind, op) == fold; }, table);
  }
  return std::nullopt;
}

}  // namespace

OpsReport validate_ops(const std::vector<std::string>& files, const std::string& profiles_dir) {
  return run(files, profiles_dir,
             [](const MeasuredOps& file, const DeviceProfile& profile,
                ErrorTable* table) -> std::optional<Error> {
               score(
                   file, profile, [](const MeasuredOp&) { return true; }, table);
               return std::nullopt;
             });
}

OpsReport cross_validate_ops(const std::vector<std::string>& files, const std::string& profiles_dir,
                             const CalibrateOptions& options) {
  return run(files, profiles_dir,
             [&](const MeasuredOps& file, const DeviceProfile& profile, ErrorTable* table) {
               return score_folds(file, profile, options, table);
             });
}

}  // namespace shardwright
