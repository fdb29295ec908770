// Fits of AttentionModel and of collective curves.
#include <algorithm>
#include <cmath>
#include <map>

#include "costmodel/calibrate/op_models.h"
#include "costmodel/calibrate/rounding.h"
#include "costmodel/calibrate/smooth_fit.h"
#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr size_t kFormulaRows = 3000;  // for the constants; the tables use all rows
constexpr double kLargestError = 0.5;  // of one row in the mean that the search lowers

const std::vector<std::vector<double>> kCorrectionKnots = {
    {1, 64, 256, 512, 1024, 2048, 4096, 16384},
    {1, 16, 64, 256, 1024, 16384},
    {64, 128, 192, 256, 512}};
const std::vector<std::vector<double>> kGroupingKnots = {
    {1, 256, 1024, 4096, 16384}, {1, 2, 4, 8, 16, 32, 64}, {1, 2, 4, 8, 32}};

// The formula's four constants by coordinate descent on the mean error without any table, at
// head_dim 128, which most models have.
class FormulaSearch {
 public:
  FormulaSearch(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts) : facts_(facts) {
    std::vector<const MeasuredOp*> usual;
    for (const MeasuredOp& op : ops) {
      if (op.attention.head_dim == 128) usual.push_back(&op);
    }
    const size_t step = usual.size() / kFormulaRows + 1;
    for (size_t i = 0; i < usual.size(); i += step) ops_.push_back(usual[i]);
  }

  AttentionModel run() const {
    AttentionModel best;
    best.floor_s = 8e-6;
    best.flop_share = 0.7;
    best.bandwidth_share = 0.7;
    best.cache_passes = 2;
    double* const parameters[] = {&best.floor_s, &best.flop_share, &best.bandwidth_share,
                                  &best.cache_passes};
    double least = error_of(best);
    double step = 0.3;
    for (int round = 0; round < 12; ++round, step *= 0.7) {
      for (double* one : parameters) {
        const double before = *one;
        for (double factor : {1 + step, 1 / (1 + step)}) {
          *one = before * factor;
          const double error = error_of(best);
          if (error < least) {
            least = error;
            break;
          }
          *one = before;
        }
      }
    }
    for (double* one : parameters) *one = rounded(*one, 3);
    return best;
  }

 private:
  double error_of(const AttentionModel& model) const {
    const OpRates rates =
        rates_of(model, facts_.peak_flops_per_s, facts_.memory_bytes_per_s, facts_.processors);
    double sum = 0;
    for (const MeasuredOp* op : ops_) {
      const double t0 =
          base_s(model, rates, op->attention) + cache_base_s(model, rates, op->attention);
      sum += std::min(kLargestError, std::abs(std::log(t0 / op->seconds)));
    }
    return sum;
  }

  const DeviceFacts& facts_;
  std::vector<const MeasuredOp*> ops_;
};

}  // namespace

AttentionModel calibrate_attention(const std::vector<MeasuredOp>& ops, const DeviceFacts& facts) {
  SW_CHECK(!ops.empty(), "no timings of attention");
  AttentionModel out = FormulaSearch(ops, facts).run();
  const OpRates rates =
      rates_of(out, facts.peak_flops_per_s, facts.memory_bytes_per_s, facts.processors);
  SmoothFit fit;
  const size_t correction = fit.add_table(kCorrectionKnots);
  const size_t grouping = fit.add_table(kGroupingKnots);
  for (const MeasuredOp& op : ops) {
    const AttentionWork& work = op.attention;
    const double t0 = base_s(out, rates, work) + cache_base_s(out, rates, work);
    const double seq = static_cast<double>(work.seq), heads = static_cast<double>(work.heads);
    const double at[] = {seq, static_cast<double>(work.batch) * heads,
                         static_cast<double>(work.head_dim)};
    const double shared[] = {seq, heads, heads / static_cast<double>(work.kv_heads)};
    fit.begin_row(std::log(op.seconds / t0));
    fit.add_term(correction, at);
    fit.add_term(grouping, shared);
  }
  const std::vector<double> solution = fit.solve({});
  out.correction = rounded_table(fit.table(correction, solution));
  out.grouping = rounded_table(fit.table(grouping, solution));
  return out;
}

std::vector<CollectiveCurve> calibrate_collectives(const std::vector<MeasuredOp>& ops) {
  std::map<std::pair<CollectiveKind, int64_t>, std::map<Bytes, double>> times;
  for (const MeasuredOp& op : ops) {
    const auto [place, fresh] = times[{op.collective, op.ranks}].try_emplace(op.bytes, op.seconds);
    if (!fresh) place->second = std::min(place->second, op.seconds);
  }
  std::vector<CollectiveCurve> out;
  for (const auto& [key, by_bytes] : times) {
    CollectiveCurve curve{key.first, key.second, {}};
    for (const auto& [bytes, seconds] : by_bytes) {
      curve.points.push_back({static_cast<double>(bytes), rounded(seconds, 5)});
    }
    curve.points = lower_envelope(std::move(curve.points));
    out.push_back(std::move(curve));
  }
  return out;
}

}  // namespace shardwright
