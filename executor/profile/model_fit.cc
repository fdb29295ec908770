#include "executor/profile/model_fit.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "costmodel/check.h"
#include "executor/profile/baseline_fit.h"

namespace shardwright {
namespace {

constexpr int kShareDigits = 5;
constexpr double kNoTerm = 1e3;  // the share of a term that the fit leaves out: the largest allowed

// Index of a coordinate among the knots of its axis.
size_t knot_of(const std::vector<double>& knots, double coordinate) {
  const auto found = std::find(knots.begin(), knots.end(), coordinate);
  SW_CHECK(found != knots.end(), coordinate << " is not a knot");
  return static_cast<size_t>(found - knots.begin());
}

using Cell = std::array<size_t, 3>;

int64_t distance(const Cell& a, const Cell& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::abs(static_cast<int64_t>(a[i]) - static_cast<int64_t>(b[i]));
  }
  return sum;
}

double nearest_mean(const std::vector<Cell>& cells, const std::vector<TablePoint>& points,
                    const Cell& at) {
  int64_t nearest = std::numeric_limits<int64_t>::max();
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < cells.size(); ++i) {
    const int64_t away = distance(cells[i], at);
    if (away > nearest) continue;
    if (away < nearest) {
      nearest = away;
      sum = 0;
      count = 0;
    }
    sum += points[i].value;
    ++count;
  }
  return sum / static_cast<double>(count);
}

std::array<double, 3> coordinates_of(const GemmWork& work) {
  return {static_cast<double>(work.m), static_cast<double>(work.n), static_cast<double>(work.k)};
}
std::array<double, 3> coordinates_of(const AttentionWork& work) {
  return {static_cast<double>(work.seq), static_cast<double>(work.batch * work.heads),
          static_cast<double>(work.head_dim)};
}

// A constant of the baseline as a share of a peak.
double share_of(double seconds_per_unit, double peak) {
  return seconds_per_unit > 0
             ? std::min(kNoTerm, rounded(1 / (seconds_per_unit * peak), kShareDigits))
             : kNoTerm;
}

template <typename Model, typename OneWork>
Model fit(const Knots& knots, const std::vector<Measured<OneWork>>& times, const Peaks& peaks) {
  std::vector<BaselinePoint> points;
  for (const auto& [work, seconds] : times) {
    points.push_back({work.flops(), static_cast<double>(work.bytes()), seconds});
  }
  const Baseline base = fit_baseline(points);
  Model out;
  out.floor_s = rounded(base.floor_s, kShareDigits);
  out.flop_share = share_of(base.s_per_flop, peaks.flops_per_s);
  out.bandwidth_share = share_of(base.s_per_byte, peaks.bytes_per_s);
  std::vector<TablePoint> corrections;
  for (size_t i = 0; i < times.size(); ++i) {
    const double t0 = out.floor_s + points[i].flops / (out.flop_share * peaks.flops_per_s) +
                      points[i].bytes / (out.bandwidth_share * peaks.bytes_per_s);
    corrections.push_back({coordinates_of(times[i].work), std::log(points[i].seconds / t0)});
  }
  out.correction = fill_table(knots, corrections);
  return out;
}

}  // namespace

LogTable fill_table(const Knots& knots, const std::vector<TablePoint>& points) {
  SW_CHECK(!points.empty(), "no points of a table");
  std::vector<Cell> cells;
  for (const TablePoint& point : points) {
    cells.push_back({knot_of(knots[0], point.at[0]), knot_of(knots[1], point.at[1]),
                     knot_of(knots[2], point.at[2])});
  }
  std::vector<double> values;
  for (size_t i = 0; i < knots[0].size(); ++i) {
    for (size_t j = 0; j < knots[1].size(); ++j) {
      for (size_t k = 0; k < knots[2].size(); ++k) {
        const double value = nearest_mean(cells, points, {i, j, k});
        values.push_back(std::round(value * 1e4) / 1e4);  // a hundredth of a percent
      }
    }
  }
  return LogTable({knots.begin(), knots.end()}, std::move(values));
}

GemmModel fit_gemm(const Knots& knots, const std::vector<Measured<GemmWork>>& times,
                   const Peaks& peaks) {
  return fit<GemmModel>(knots, times, peaks);
}

AttentionModel fit_attention(const Knots& knots, const std::vector<Measured<AttentionWork>>& times,
                             const Peaks& peaks) {
  return fit<AttentionModel>(knots, times, peaks);
}

}  // namespace shardwright
