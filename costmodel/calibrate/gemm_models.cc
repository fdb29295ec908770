// Fits of GemmModel and QuantiseModel.
#include <algorithm>
#include <cmath>

#include "costmodel/calibrate/op_models.h"
#include "costmodel/calibrate/rounding.h"
#include "costmodel/calibrate/smooth_fit.h"
#include "costmodel/check.h"

namespace shardwright {
namespace {

// The share of the peak and of the bandwidth only set what the tables are relative to: 80 % and
// half of the bytes at 85 %, since the other half hides behind products.
constexpr double kFlopShare = 0.8, kBandwidthShare = 1.7, kFloor = 3e-6;
constexpr int kRounds = 4;  // of linearising a sum of two corrected terms
// Tiles are kept where they lower the mean error by so much: elsewhere they only add parameters.
constexpr double kWorthwhile = 0.95;
// The search for tile efficiencies uses at most so many rows.
constexpr size_t kSearchRows = 7000;
constexpr double kLargestError = 0.3;  // of one row in the mean that the search lowers

std::array<double, 3> at_of(const GemmWork& work) {
  return {static_cast<double>(work.m), static_cast<double>(work.n), static_cast<double>(work.k)};
}

double look_up(const LogTable& table, const double* at) { return table.empty() ? 0 : table.at(at); }

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool is_training_size(const GemmWork& work) { return std::min({work.m, work.n, work.k}) >= 1024; }

class GemmFit {
 public:
  GemmFit(const DeviceFacts& facts, const CalibrationGrid& grid) : facts_(facts), grid_(grid) {
    model_.floor_s = kFloor;
    model_.flop_share = kFlopShare;
    model_.bandwidth_share = kBandwidthShare;
    rates_ = rates_of(model_, facts.peak_flops_per_s, facts.memory_bytes_per_s, facts.processors);
    smoothness_.difference_penalty = grid.difference_penalty;
  }

  void set_tiling(const TileModel& tiling) { model_.tiling = tiling; }
  GemmModel take() { return std::move(model_); }

  // The table over `knots` from all of `ops`; returns their mean error, training sizes counting
  // four times.
  double fit_correction(const std::vector<const MeasuredOp*>& ops,
                        const std::vector<std::vector<double>>& knots, bool round) {
    std::vector<double> bases;
    for (const MeasuredOp* op : ops) bases.push_back(base_s(model_, rates_, op->gemm));
    std::vector<double> targets;
    for (size_t i = 0; i < ops.size(); ++i) targets.push_back(std::log(ops[i]->seconds / bases[i]));
    SmoothFit fit;
    const size_t table = fit.add_table(knots, median_of(targets));
    for (size_t i = 0; i < ops.size(); ++i) {
      fit.begin_row(targets[i]);
      fit.add_term(table, at_of(ops[i]->gemm).data());
    }
    model_.correction = fit.table(table, fit.solve(smoothness_));
    if (round) model_.correction = rounded_table(model_.correction);
    double sum = 0, weights = 0;
    for (size_t i = 0; i < ops.size(); ++i) {
      const double ratio =
          bases[i] * std::exp(model_.correction.at(at_of(ops[i]->gemm).data())) / ops[i]->seconds;
      const double weight = is_training_size(ops[i]->gemm) ? 4 : 1;
      sum += weight * std::min(kLargestError, std::abs(std::log(ratio)));
      weights += weight;
    }
    return sum / weights;
  }

  // log t = log(g exp(T) + q exp(Q)), solved for T and, where `quantise` has no fixed table, for Q
  // by linearising around the last solution.
  void fit_with_quantise(const std::vector<const MeasuredOp*>& ops, bool fixed,
                         QuantiseModel* quantise) {
    static const std::vector<std::vector<double>> kKnots = {
        {1, 64, 128, 256, 512, 1024, 2048, 8192, 32768},
        {32, 1024, 2048, 4096, 8192, 16384, 65536}};
    model_.correction = LogTable();
    std::vector<double> ratios;
    for (const MeasuredOp* op : ops) {
      const double both_s = base_s(model_, rates_, op->gemm) + quantise_base_s(*quantise, op->gemm);
      ratios.push_back(std::log(op->seconds / both_s));
    }
    const double centre = median_of(std::move(ratios));
    for (int round = 0; round < kRounds; ++round) {
      SmoothFit fit;
      const size_t table = fit.add_table(grid_.gemm, centre);
      const size_t second = fixed ? 0 : fit.add_table(kKnots);
      for (const MeasuredOp* op : ops) {
        const std::array<double, 3> at = at_of(op->gemm);
        const double row_and_column[] = {at[0], at[2]};
        const double t = look_up(model_.correction, at.data());
        const double q = look_up(quantise->correction, row_and_column);
        const double gemm_s = base_s(model_, rates_, op->gemm) * std::exp(t);
        const double quantise_s = quantise_base_s(*quantise, op->gemm) * std::exp(q);
        const double gemm_share = gemm_s / (gemm_s + quantise_s);
        double target = std::log(op->seconds / (gemm_s + quantise_s)) + gemm_share * t;
        if (!fixed) target += (1 - gemm_share) * q;
        fit.begin_row(target);
        fit.add_term(table, at.data(), gemm_share);
        if (!fixed) fit.add_term(second, row_and_column, 1 - gemm_share);
      }
      const std::vector<double> solution = fit.solve(smoothness_);
      model_.correction = rounded_table(fit.table(table, solution));
      if (!fixed) quantise->correction = rounded_table(fit.table(second, solution));
    }
  }

  // Rows that are padded: what they cost beyond the table.
  // `quantise` is nullptr where timings do not contain it.
  void fit_unaligned(const std::vector<const MeasuredOp*>& ops, const QuantiseModel* quantise) {
    if (ops.empty()) return;
    for (int round = 0; round < kRounds; ++round) {
      SmoothFit fit;
      const size_t table = fit.add_table(grid_.unaligned);
      for (const MeasuredOp* op : ops) {
        const std::array<double, 3> at = at_of(op->gemm);
        const double gemm_s = base_s(model_, rates_, op->gemm) * correction_of(model_, op->gemm);
        const double all_s =
            gemm_s + (quantise == nullptr ? 0
                                          : quantise_base_s(*quantise, op->gemm) *
                                                correction_of(*quantise, op->gemm.m, op->gemm.k));
        const double share = gemm_s / all_s;
        fit.begin_row(std::log(op->seconds / all_s) + share * look_up(model_.unaligned, at.data()));
        fit.add_term(table, at.data(), share);
      }
      model_.unaligned = rounded_table(fit.table(table, fit.solve(smoothness_)));
    }
  }

 private:
  double quantise_base_s(const QuantiseModel& model, const GemmWork& work) const {
    return base_s(model, facts_.memory_bytes_per_s, work.m, work.k);
  }

  const DeviceFacts& facts_;
  const CalibrationGrid& grid_;
  GemmModel model_;
  OpRates rates_;
  SmoothFitOptions smoothness_;
};

// Where the search starts: tiles of common libraries, each somewhat slower than the next larger.
TileModel first_tiles() {
  TileModel out;
  out.tiles = {{256, 128, 1},  {128, 256, 1}, {128, 128, 0.93},
               {64, 128, 0.8}, {64, 64, 0.6}, {128, 64, 0.75}};
  out.whole_waves = 0.7;
  out.least_wave = 0.75;
  out.split_columns = 256;
  return out;
}

// Coordinate descent on the mean error, the table fitted anew at each trial.
class TileSearch {
 public:
  TileSearch(const std::vector<const MeasuredOp*>& ops, const DeviceFacts& facts,
             const CalibrationGrid& grid)
      : facts_(facts), grid_(grid) {
    const size_t step = ops.size() / kSearchRows + 1;
    for (size_t i = 0; i < ops.size(); i += step) ops_.push_back(ops[i]);
  }

  // Empty tiles where they are not worth their parameters.
  TileModel run() {
    if (facts_.processors == 0) return {};
    const double plain = error_of({});
    TileModel best = first_tiles();
    double least = error_of(best);
    if (least > plain) return {};
    double step = 0.15;
    for (int round = 0; round < 5; ++round, step *= 0.6) {
      for (double* one : parameters_of(&best)) try_both(one, step, &best, &least);
    }
    for (double* one : parameters_of(&best)) *one = rounded(*one, 3);
    return least < kWorthwhile * plain ? best : TileModel();
  }

 private:
  static std::vector<double*> parameters_of(TileModel* tiling) {
    std::vector<double*> out;
    for (size_t i = 1; i < tiling->tiles.size(); ++i) out.push_back(&tiling->tiles[i].efficiency);
    out.insert(out.end(), {&tiling->whole_waves, &tiling->least_wave, &tiling->split_columns});
    return out;
  }

  void try_both(double* one, double step, TileModel* best, double* least) {
    const double before = *one;
    for (double factor : {1 + step, 1 / (1 + step)}) {
      *one = before * factor;
      if (best->whole_waves <= 1 && best->least_wave <= 1) {
        const double error = error_of(*best);
        if (error < *least) {
          *least = error;
          return;
        }
      }
      *one = before;
    }
  }

  double error_of(const TileModel& tiling) const {
    static const std::vector<std::vector<double>> kCoarse = {
        {1, 64, 128, 256, 512, 1024, 2048, 8192, 32768},
        {32, 256, 1024, 4096, 12288, 65536},
        {32, 256, 1024, 4096, 12288, 65536}};
    GemmFit fit(facts_, grid_);
    fit.set_tiling(tiling);
    return fit.fit_correction(ops_, kCoarse, false);
  }

  const DeviceFacts& facts_;
  const CalibrationGrid& grid_;
  std::vector<const MeasuredOp*> ops_;
};

struct ByAlignment {
  std::vector<const MeasuredOp*> aligned, unaligned;
};

ByAlignment by_alignment(const std::vector<MeasuredOp>& ops, int64_t fewest_rows) {
  ByAlignment out;
  for (const MeasuredOp& op : ops) {
    if (op.gemm.m < fewest_rows) continue;
    (has_aligned_rows(op.gemm) ? out.aligned : out.unaligned).push_back(&op);
  }
  return out;
}

// Where the fit of a quantisation starts: the kernel of a Hopper device, whose steps show plainly
// at n = 32. The table makes of it what another device does.
QuantiseModel first_quantise() {
  QuantiseModel out;
  out.floor_s = 1.7e-6;
  out.block_s = 1.3e-6;
  out.rows_at_once = 320;
  out.row_s = 2.8e-9;
  return out;
}

}  // namespace

CalibrationGrid full_grid() {
  const std::vector<double> widths = {32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536};
  CalibrationGrid out;
  out.gemm = {{1, 16, 64, 128, 256, 512, 1024, 2048, 8192, 32768}, widths, widths};
  out.unaligned = {
      {16, 128, 512, 1024, 2048, 8192}, {32, 1024, 8192, 65536}, {32, 1024, 8192, 65536}};
  return out;
}

CalibrationGrid quick_grid() {
  CalibrationGrid out;
  out.gemm = {{16, 128, 512, 2048, 8192}, {256, 1024, 4096, 16384}, {256, 1024, 4096, 16384}};
  out.difference_penalty = 0.02;
  out.tiles = false;
  return out;
}

bool is_quick_shape(const GemmWork& work) {
  const CalibrationGrid grid = quick_grid();
  const std::array<double, 3> at = at_of(work);
  for (size_t axis = 0; axis < at.size(); ++axis) {
    const std::vector<double>& knots = grid.gemm[axis];
    if (std::find(knots.begin(), knots.end(), at[axis]) == knots.end()) return false;
  }
  return true;
}

GemmModel calibrate_gemm(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                         const CalibrationGrid& grid) {
  const ByAlignment rows = by_alignment(ops, 1);
  SW_CHECK(!rows.aligned.empty(), "no timings of products with aligned rows");
  GemmFit fit(facts, grid);
  if (grid.tiles) fit.set_tiling(TileSearch(rows.aligned, facts, grid).run());
  fit.fit_correction(rows.aligned, grid.gemm, true);
  fit.fit_unaligned(rows.unaligned, nullptr);
  return fit.take();
}

Fp8Models calibrate_fp8(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                        const CalibrationGrid& grid) {
  const ByAlignment rows = by_alignment(ops, 2);
  SW_CHECK(!rows.aligned.empty(), "no timings of products with aligned rows");
  Fp8Models out;
  out.quantise = first_quantise();
  GemmFit fit(facts, grid);
  fit.fit_with_quantise(rows.aligned, false, &out.quantise);
  fit.fit_unaligned(rows.unaligned, &out.quantise);
  out.gemm = fit.take();
  return out;
}

GemmModel calibrate_fp8_gemm(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts,
                             const CalibrationGrid& grid, const QuantiseModel& quantise) {
  const ByAlignment rows = by_alignment(ops, 2);
  SW_CHECK(!rows.aligned.empty(), "no timings of products with aligned rows");
  GemmFit fit(facts, grid);
  QuantiseModel same = quantise;
  fit.fit_with_quantise(rows.aligned, true, &same);
  return fit.take();
}

}  // namespace shardwright
