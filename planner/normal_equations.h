// Normal equations of a least squares fit: symmetric, positive definite, a few hundred unknowns.
#pragma once

#include <cstddef>
#include <vector>

namespace shardwright {

// A x = b with A = sum of weight * slope slope^T. Row major; both halves are kept.
class NormalEquations {
 public:
  explicit NormalEquations(size_t unknowns);
  size_t size() const { return gradient_.size(); }
  double& at(size_t i, size_t j) { return matrix_[i * size() + j]; }
  double at(size_t i, size_t j) const { return matrix_[i * size() + j]; }
  double& gradient(size_t i) { return gradient_[i]; }

  // The Gauss-Newton step -A^-1 b. REQUIRES a positive definite A: every unknown has a prior.
  std::vector<double> step() const;
  // A^-1, the covariance of the unknowns when A is the curvature of half of -2 ln(posterior).
  NormalEquations inverse() const;

 private:
  std::vector<double> factorise() const;  // the lower triangle L of A = L L^T
  std::vector<double> matrix_, gradient_;
};

}  // namespace shardwright
