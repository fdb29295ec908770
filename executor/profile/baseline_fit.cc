#include "executor/profile/baseline_fit.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int kTerms = 3;  // floor, FLOPs, bytes

using Row = std::array<double, kTerms>;

// A point as the terms of t0 / t.
Row relative_terms(const BaselinePoint& point) {
  return {1 / point.seconds, point.flops / point.seconds, point.bytes / point.seconds};
}

// Solves the normal equations for the terms in `used` (bit i: term i) by Gaussian elimination on
// columns of unit size. Nothing when the terms do not tell the points apart.
std::optional<Row> solve(const std::vector<Row>& rows, int used, const Row& scale) {
  double system[kTerms][kTerms + 1] = {};
  for (int i = 0; i < kTerms; ++i) {
    if ((used >> i & 1) == 0) {
      system[i][i] = 1;
      continue;
    }
    for (const Row& row : rows) {
      for (int j = 0; j < kTerms; ++j) {
        if ((used >> j & 1) == 1) system[i][j] += row[i] / scale[i] * (row[j] / scale[j]);
      }
      system[i][kTerms] += row[i] / scale[i];
    }
  }
  // Symmetric and positive definite where solvable: no pivoting needed.
  for (int i = 0; i < kTerms; ++i) {
    if (system[i][i] < 1e-9) return std::nullopt;
    for (int r = 0; r < kTerms; ++r) {
      if (r == i) continue;
      const double factor = system[r][i] / system[i][i];
      for (int c = i; c <= kTerms; ++c) system[r][c] -= factor * system[i][c];
    }
  }
  Row out{};
  for (int i = 0; i < kTerms; ++i) {
    if ((used >> i & 1) == 1) out[i] = system[i][kTerms] / system[i][i] / scale[i];
  }
  return out;
}

double squared_error(const std::vector<Row>& rows, const Row& constants) {
  double sum = 0;
  for (const Row& row : rows) {
    double ratio = 0;
    for (int i = 0; i < kTerms; ++i) ratio += constants[i] * row[i];
    sum += (ratio - 1) * (ratio - 1);
  }
  return sum;
}

bool no_negative(const Row& constants, int used) {
  for (int i = 0; i < kTerms; ++i) {
    if ((used >> i & 1) == 1 && constants[i] <= 0) return false;
  }
  return true;
}

}  // namespace

Baseline fit_baseline(const std::vector<BaselinePoint>& points) {
  SW_CHECK(!points.empty(), "no points to fit");
  std::vector<Row> rows;
  Row scale{};
  for (const BaselinePoint& point : points) {
    rows.push_back(relative_terms(point));
    for (int i = 0; i < kTerms; ++i) scale[i] = std::max(scale[i], rows.back()[i]);
  }
  Row best{};
  double best_error = std::numeric_limits<double>::infinity();
  for (int used = 1; used < 1 << kTerms; ++used) {
    if ((used >> 1 & 1) == 0) continue;  // time grows with FLOPs
    const std::optional<Row> constants = solve(rows, used, scale);
    if (!constants || !no_negative(*constants, used)) continue;
    const double error = squared_error(rows, *constants);
    if (error >= best_error) continue;
    best_error = error;
    best = *constants;
  }
  return {best[0], best[1], best[2]};
}

}  // namespace shardwright
