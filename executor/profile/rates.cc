#include "executor/profile/rates.h"

#include <algorithm>
#include <string>

#include "costmodel/units.h"

namespace shardwright {
namespace {

constexpr double kFirstSweepShare = 0.6;
// Shares of a sweep's time. A section that ends early leaves the rest to those after it.
constexpr double kGemmShare = 0.55, kAttentionShare = 0.2;
// A warm call, one to gauge it and three samples.
constexpr double kCallsPerPoint = 5;
constexpr int kTimeDigits = 4;

double amount_of(const GemmWork& work) { return work.flops(); }
double amount_of(const AttentionWork& work) { return work.flops(); }
double amount_of(const PassWork& work) { return static_cast<double>(work.elements()); }

class RateMeasurement {
 public:
  RateMeasurement(RankBench& bench, WorkRunner& runner, const Progress& progress)
      : bench_(bench), runner_(runner), progress_(progress), start_ns_(monotonic_ns()) {}

  // Each point's cost is expected from the one before it.
  template <typename OneWork>
  std::vector<Measured<OneWork>> run(const std::string& name, const std::vector<OneWork>& works,
                                     double until_s) {
    std::vector<Measured<OneWork>> out;
    Section section(bench_, name, works.size(), start_ns_ + to_nanoseconds(until_s), progress_);
    double per_amount_s = 0;
    for (const OneWork& work : works) {
      if (!runner_.fits(work)) continue;
      const double expected_s = kCallsPerPoint * per_amount_s * amount_of(work);
      if (!section.affords(expected_s) && !out.empty()) break;
      const double seconds = bench_.measure([&] { runner_.run(work); });
      out.push_back({work, seconds});
      per_amount_s = seconds / amount_of(work);
    }
    return out;
  }

 private:
  RankBench& bench_;
  WorkRunner& runner_;
  const Progress& progress_;
  int64_t start_ns_;
};

std::vector<CurvePoint> curve_of(const std::vector<Measured<PassWork>>& times) {
  std::vector<CurvePoint> out;
  for (const auto& [work, seconds] : times) {
    out.push_back({static_cast<double>(work.elements()), rounded(seconds, kTimeDigits)});
  }
  return lower_envelope(std::move(out));
}

MeasuredRates sweep(RankBench& bench, WorkRunner& runner, const GridOptions& grid, double seconds,
                    const Progress& progress) {
  RateMeasurement measurement(bench, runner, progress);
  MeasuredRates out;
  out.active_ranks = bench.ranks();
  const std::string at = " at " + std::to_string(bench.ranks()) + " active";
  for (size_t i = 0; i < out.gemm.size(); ++i) {
    const auto layout = static_cast<GemmLayout>(i);
    const double until_s = seconds * kGemmShare * static_cast<double>(i + 1) / 3;
    out.gemm[i] = measurement.run(std::string("gemm ") + name_of(layout) + at,
                                  gemm_grid(layout, grid), until_s);
  }
  for (size_t i = 0; i < out.attention.size(); ++i) {
    const double until_s =
        seconds * (kGemmShare + kAttentionShare * static_cast<double>(i + 1) / 2);
    out.attention[i] =
        measurement.run(std::string(i == 0 ? "attention forward" : "attention backward") + at,
                        attention_grid(i == 1, grid), until_s);
  }
  const auto kinds = static_cast<size_t>(PassKind::kCount);
  for (size_t i = 0; i < kinds; ++i) {
    const auto kind = static_cast<PassKind>(i);
    if (kind == PassKind::kQuantise) continue;  // no kernel computes in fp8 here
    const double done = kGemmShare + kAttentionShare;
    const double until_s = seconds * (done + (1 - done) * static_cast<double>(i + 1) / kinds);
    out.passes[kind] = measurement.run(name_of(kind) + at, pass_sizes(kind, grid), until_s);
  }
  return out;
}

template <typename OneWork>
void keep_faster(const std::vector<Measured<OneWork>>& again, std::vector<Measured<OneWork>>* out) {
  // Both lists are the start of the same grid.
  for (size_t i = 0; i < again.size(); ++i) {
    if (i == out->size()) out->push_back(again[i]);
    (*out)[i].seconds = std::min((*out)[i].seconds, again[i].seconds);
  }
}

// Another program that disturbs a point in one sweep rarely disturbs it in the other.
void keep_faster(const MeasuredRates& again, MeasuredRates* out) {
  for (size_t i = 0; i < out->gemm.size(); ++i) keep_faster(again.gemm[i], &out->gemm[i]);
  for (size_t i = 0; i < out->attention.size(); ++i) {
    keep_faster(again.attention[i], &out->attention[i]);
  }
  for (auto& [kind, times] : out->passes) keep_faster(again.passes.at(kind), &times);
}

}  // namespace

MeasuredRates measure_rates(RankBench& bench, WorkRunner& runner, const GridOptions& grid,
                            double seconds, const Progress& progress) {
  if (grid.quick) return sweep(bench, runner, grid, seconds, progress);
  const int64_t start_ns = monotonic_ns();
  MeasuredRates out = sweep(bench, runner, grid, seconds * kFirstSweepShare, progress);
  const double left = bench.agreed_max(seconds - to_seconds(monotonic_ns() - start_ns));
  if (left > 0) keep_faster(sweep(bench, runner, grid, left, progress), &out);
  return out;
}

Peaks peaks_of(const MeasuredRates& rates) {
  Peaks out;
  for (const auto& times : rates.gemm) {
    for (const auto& [work, seconds] : times) {
      out.flops_per_s = std::max(out.flops_per_s, work.flops() / seconds);
    }
  }
  for (const auto& times : rates.attention) {
    for (const auto& [work, seconds] : times) {
      out.flops_per_s = std::max(out.flops_per_s, work.flops() / seconds);
    }
  }
  for (const auto& [kind, times] : rates.passes) {
    const auto& [work, seconds] = times.back();
    out.bytes_per_s = std::max(out.bytes_per_s, static_cast<double>(work.bytes) / seconds);
  }
  return out;
}

RateSet fit_rates(const MeasuredRates& rates, const GridOptions& grid, const Peaks& peaks) {
  RateSet out;
  out.active_ranks = rates.active_ranks;
  for (size_t i = 0; i < rates.gemm.size(); ++i) {
    const auto layout = static_cast<GemmLayout>(i);
    out.gemm[grid.type][i] = fit_gemm(gemm_knots(layout, grid), rates.gemm[i], peaks);
  }
  for (size_t i = 0; i < rates.attention.size(); ++i) {
    out.attention[grid.type][i] = fit_attention(attention_knots(grid), rates.attention[i], peaks);
  }
  for (const auto& [kind, times] : rates.passes) out.passes[kind] = curve_of(times);
  return out;
}

}  // namespace shardwright
