#include "costmodel/calibrate/smooth_fit.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

// Solves A x = b in place by Cholesky's factorisation; A is symmetric, row major, its lower half
// given. The size penalty makes it positive definite. Knots meet neighbours only, so a row is zero
// up to its first entry and stays so.
void solve_symmetric(size_t n, std::vector<double>* a, std::vector<double>* b) {
  std::vector<double>& m = *a;
  std::vector<double>& x = *b;
  std::vector<size_t> first(n, 0);
  for (size_t i = 0; i < n; ++i) {
    while (m[i * n + first[i]] == 0 && first[i] < i) ++first[i];
    double* row_i = &m[i * n];
    for (size_t j = first[i]; j <= i; ++j) {
      const double* row_j = &m[j * n];
      double sum = row_i[j];
      for (size_t k = std::max(first[i], first[j]); k < j; ++k) sum -= row_i[k] * row_j[k];
      SW_CHECK(i != j || sum > 0, "row " << i << " of the normal equations");
      row_i[j] = i == j ? std::sqrt(sum) : sum / row_j[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = first[i]; k < i; ++k) x[i] -= m[i * n + k] * x[k];
    x[i] /= m[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    x[i] /= m[i * n + i];
    for (size_t k = first[i]; k < i; ++k) x[k] -= m[i * n + k] * x[i];
  }
}

}  // namespace

size_t SmoothFit::add_table(const std::vector<std::vector<double>>& knots, double centre) {
  size_t cells = 1;
  for (const auto& axis : knots) cells *= axis.size();
  tables_.push_back({LogTable(knots, std::vector<double>(cells, 0)), unknowns_, centre});
  unknowns_ += cells;
  return tables_.size() - 1;
}

void SmoothFit::begin_row(double target, double weight) {
  rows_.push_back({terms_.size(), target, weight});
}

void SmoothFit::add_term(size_t table, const double* coordinates, double slope) {
  SW_CHECK(!rows_.empty(), "a term before its row");
  CellCorner corners[16];
  const size_t count = tables_.at(table).grid.corners_of(coordinates, corners);
  for (size_t i = 0; i < count; ++i) {
    terms_.push_back({tables_[table].offset + corners[i].index, slope * corners[i].weight});
  }
}

double SmoothFit::residual(size_t row, const std::vector<double>& solution) const {
  double sum = -rows_[row].target;
  for (size_t t = rows_[row].begin; t < end_of(row); ++t) {
    sum += terms_[t].weight * solution[terms_[t].index];
  }
  return sum;
}

void SmoothFit::add_penalties(const SmoothFitOptions& options, std::vector<double>* system,
                              std::vector<double>* right) const {
  std::vector<double>& a = *system;
  for (size_t i = 0; i < unknowns_; ++i) a[i * unknowns_ + i] += options.size_penalty;
  for (const Table& table : tables_) {
    const auto& knots = table.grid.knots();
    const size_t cells = table.grid.values().size();
    for (size_t cell = 0; cell < cells; ++cell) {
      (*right)[table.offset + cell] += options.size_penalty * table.centre;
    }
    size_t stride = 1;
    for (size_t axis = knots.size(); axis-- > 0; stride *= knots[axis].size()) {
      for (size_t cell = 0; cell < cells; ++cell) {
        if (cell / stride % knots[axis].size() + 1 == knots[axis].size()) continue;
        const size_t low = table.offset + cell, high = low + stride;
        a[low * unknowns_ + low] += options.difference_penalty;
        a[high * unknowns_ + high] += options.difference_penalty;
        a[high * unknowns_ + low] -= options.difference_penalty;
      }
    }
  }
}

std::vector<double> SmoothFit::solve(const SmoothFitOptions& options) const {
  std::vector<double> solution(unknowns_, 0);
  for (int round = 0; round < options.rounds; ++round) {
    std::vector<double> system(unknowns_ * unknowns_, 0), right(unknowns_, 0);
    for (size_t r = 0; r < rows_.size(); ++r) {
      const double off = std::abs(residual(r, solution));
      const double weight =
          rows_[r].weight * (round == 0 ? 1 : options.scale / std::max(options.scale, off));
      for (size_t i = rows_[r].begin; i < end_of(r); ++i) {
        const double part = weight * terms_[i].weight;
        right[terms_[i].index] += part * rows_[r].target;
        double* line = &system[terms_[i].index * unknowns_];
        for (size_t j = rows_[r].begin; j < end_of(r); ++j) {
          if (terms_[j].index <= terms_[i].index) line[terms_[j].index] += part * terms_[j].weight;
        }
      }
    }
    add_penalties(options, &system, &right);
    solve_symmetric(unknowns_, &system, &right);
    solution = std::move(right);
  }
  return solution;
}

LogTable SmoothFit::table(size_t table, const std::vector<double>& solution) const {
  const Table& one = tables_.at(table);
  const auto begin = solution.begin() + static_cast<std::ptrdiff_t>(one.offset);
  const auto size = static_cast<std::ptrdiff_t>(one.grid.values().size());
  return LogTable(one.grid.knots(), std::vector<double>(begin, begin + size));
}

}  // namespace shardwright
