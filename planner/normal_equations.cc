#include "planner/normal_equations.h"

#include <algorithm>
#include <cmath>

namespace shardwright {

NormalEquations::NormalEquations(size_t unknowns)
    : matrix_(unknowns * unknowns, 0), gradient_(unknowns, 0) {}

std::vector<double> NormalEquations::factorise() const {
  const size_t n = size();
  std::vector<double> lower(n * n, 0);
  for (size_t i = 0; i < n; ++i) {
    const double* own = &lower[i * n];
    for (size_t j = 0; j <= i; ++j) {
      const double* other = &lower[j * n];
      double sum = matrix_[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= own[k] * other[k];
      lower[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / other[j];
    }
  }
  return lower;
}

std::vector<double> NormalEquations::step() const {
  const size_t n = size();
  const std::vector<double> lower = factorise();
  std::vector<double> x = gradient_;
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) x[i] -= lower[i * n + k] * x[k];
    x[i] /= lower[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    x[i] /= lower[i * n + i];
    for (size_t k = 0; k < i; ++k) x[k] -= lower[i * n + k] * x[i];
  }
  for (double& one : x) one = -one;
  return x;
}

// A^-1 = L^-T L^-1, with the rows of L^-1 by forward substitution.
NormalEquations NormalEquations::inverse() const {
  const size_t n = size();
  const std::vector<double> lower = factorise();
  std::vector<double> rows(n * n, 0);  // of L^-1
  for (size_t i = 0; i < n; ++i) {
    double* own = &rows[i * n];
    for (size_t k = 0; k < i; ++k) {
      const double share = lower[i * n + k];
      const double* other = &rows[k * n];
      for (size_t j = 0; share != 0 && j <= k; ++j) own[j] -= share * other[j];
    }
    own[i] = 1;
    for (size_t j = 0; j <= i; ++j) own[j] /= lower[i * n + i];
  }
  NormalEquations out(n);
  for (size_t k = 0; k < n; ++k) {
    const double* row = &rows[k * n];
    for (size_t i = 0; i <= k; ++i) {
      for (size_t j = 0; row[i] != 0 && j <= i; ++j) out.at(i, j) += row[i] * row[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) out.at(j, i) = out.at(i, j);
  }
  return out;
}

}  // namespace shardwright
