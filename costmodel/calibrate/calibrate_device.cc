#include "costmodel/calibrate/calibrate_device.h"

#include <algorithm>
#include <cmath>

#include "costmodel/calibrate/rounding.h"

namespace shardwright {
namespace {

constexpr double kLargeFlops = 274877906944;  // 2^38
// The smallest grid that a table was found to follow from without a prior (published GEMM timings
// of seven devices): below that the smoothing would decide, not the timings.
constexpr size_t kFewestRows = 48;

std::vector<MeasuredOp> quick_rows(const std::vector<MeasuredOp>& ops) {
  std::vector<MeasuredOp> out;
  for (const MeasuredOp& op : ops) {
    if (is_quick_shape(op.gemm)) out.push_back(op);
  }
  return out;
}

// Six shapes, three for each of the usual head_dims, enough to fill the device.
bool is_quick_attention(const AttentionWork& work) {
  const bool usual = work.head_dim == 64 || work.head_dim == 128;
  const bool sizes = work.seq == 1024 || work.seq == 4096 || work.seq == 16384;
  return usual && sizes && work.batch == 1 && work.heads == 32 && work.kv_heads == 8;
}

class DeviceFit {
 public:
  DeviceFit(const DeviceProfile& base, const CalibrateOptions& options)
      : out_(base), options_(options) {}

  std::optional<Error> add(const MeasuredOps& file) {
    if (file.kind == OpKind::kCollectives) return add_collectives(file);
    const auto peak = out_.peak_flops_per_s.find(file.type);
    if (peak == out_.peak_flops_per_s.end()) {
      return Error{file.file, "type", name_of(file.type),
                   "a type that " + out_.name + " has a peak for"};
    }
    if (const auto error = check_rows(file)) return error;
    const DeviceFacts facts{peak->second, out_.memory_bytes_per_s, out_.processors};
    if (file.kind == OpKind::kGemm) return add_gemm(file, facts);
    return add_attention(file, facts);
  }

  DeviceProfile take() { return std::move(out_); }

 private:
  // Of a quick profile the shapes decide, which are asked for where they are picked.
  std::optional<Error> check_rows(const MeasuredOps& file) const {
    if (options_.quick || file.ops.size() >= kFewestRows) return std::nullopt;
    const std::string first = file.refused.empty() ? "" : "; " + file.refused.front().reason;
    return Error{file.file, "", std::to_string(file.ops.size()) + " rows with a timing" + first,
                 "at least " + std::to_string(kFewestRows)};
  }

  std::optional<Error> add_gemm(const MeasuredOps& file, const DeviceFacts& facts) {
    RateSet& rates = out_.rates.front();
    auto& models = rates.gemm[file.type];
    const std::vector<MeasuredOp> rows = options_.quick ? quick_rows(file.ops) : file.ops;
    if (rows.empty())
      return Error{file.file, "", "none of the shapes", "m 16 ... 8192, n and k 256 ... 16384"};
    const CalibrationGrid grid = options_.quick ? quick_grid() : full_grid();
    const GemmModel before = models[0].value_or(GemmModel());
    models = {};
    if (file.type != DataType::kFp8) {
      models[0] = calibrate_gemm(rows, facts, grid);
      // Another device's table of large products is a fact that these timings do not replace.
      models[0]->large_flops = before.large_flops;
      models[0]->large = before.large;
    } else if (options_.quick) {
      models[0] = calibrate_fp8_gemm(rows, facts, grid, rates.quantise.value_or(QuantiseModel()));
    } else {
      Fp8Models fp8 = calibrate_fp8(rows, facts, grid);
      models[0] = std::move(fp8.gemm);
      rates.quantise = std::move(fp8.quantise);
    }
    return std::nullopt;
  }

  std::optional<Error> add_attention(const MeasuredOps& file, const DeviceFacts& facts) {
    auto& models = out_.rates.front().attention[file.type];
    if (!options_.quick) {
      models = {};
      models[0] = calibrate_attention(file.ops, facts);
      return std::nullopt;
    }
    return scale_attention(file, facts, &models[0]);
  }

  // A quick profile keeps the tables and moves the rate by the median of a few shapes.
  std::optional<Error> scale_attention(const MeasuredOps& file, const DeviceFacts& facts,
                                       std::optional<AttentionModel>* model) {
    if (!*model) *model = AttentionModel();
    const OpRates rates =
        rates_of(**model, facts.peak_flops_per_s, facts.memory_bytes_per_s, facts.processors);
    std::vector<double> ratios;
    for (const MeasuredOp& op : file.ops) {
      if (!is_quick_attention(op.attention)) continue;
      const double t0 =
          base_s(**model, rates, op.attention) + cache_base_s(**model, rates, op.attention);
      ratios.push_back(op.seconds / (t0 * correction_of(**model, op.attention)));
    }
    if (ratios.empty())
      return Error{file.file, "", "none of the shapes", "batch 1, heads 32, kv_heads 8"};
    std::sort(ratios.begin(), ratios.end());
    const double median = ratios[ratios.size() / 2];
    (*model)->floor_s = rounded((*model)->floor_s * median, 4);
    (*model)->flop_share = rounded((*model)->flop_share / median, 4);
    (*model)->bandwidth_share = rounded((*model)->bandwidth_share / median, 4);
    return std::nullopt;
  }

  std::optional<Error> add_collectives(const MeasuredOps& file) {
    if (!options_.collectives) return std::nullopt;
    for (UsualLink& link : out_.links) {
      if (link.network) continue;
      link.curves = calibrate_collectives(file.ops);
      return std::nullopt;
    }
    return Error{file.file, "device", out_.name + " without a link inside a node",
                 "a base profile with one"};
  }

  DeviceProfile out_;
  const CalibrateOptions& options_;
};

}  // namespace

Result<DeviceProfile> calibrate_device(const DeviceProfile& base,
                                       const std::vector<MeasuredOps>& files,
                                       const CalibrateOptions& options) {
  DeviceFit fit(base, options);
  bool found = false;
  for (const MeasuredOps& file : files) {
    if (file.device != base.name) continue;
    found = true;
    if (auto error = fit.add(file)) return *error;
  }
  if (!found) return Error{"command line", "device", base.name, "a device with timings"};
  return fit.take();
}

void take_large_products(const DeviceProfile& from, DeviceProfile* device) {
  const auto other = from.rates.front().gemm.find(DataType::kBf16);
  const auto own = device->rates.front().gemm.find(DataType::kBf16);
  if (other == from.rates.front().gemm.end() || own == device->rates.front().gemm.end()) return;
  own->second[0]->large_flops = kLargeFlops;
  own->second[0]->large = other->second[0]->correction;
}

}  // namespace shardwright
