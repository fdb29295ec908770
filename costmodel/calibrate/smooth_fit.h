// SmoothFit: values of tables from many scattered measurements, by linear least squares with a
// penalty on differences between neighbouring knots, made robust by reweighting.
#pragma once

#include <cstddef>
#include <vector>

#include "costmodel/device_profile.h"

namespace shardwright {

struct SmoothFitOptions {
  double difference_penalty = 0.5;  // on squared differences of neighbours; a row weighs 1
  double size_penalty = 0.05;       // on squared distances from the table's centre
  int rounds = 5;                   // the first with equal weights
  double scale = 0.03;  // rows off by more weigh scale / residual: nearly least absolute error
};

class SmoothFit {
 public:
  // Adds a table whose values go to `centre` where no row says otherwise; returns its number.
  size_t add_table(const std::vector<std::vector<double>>& knots, double centre = 0);

  // One row: the sum of coefficient * unknown shall be `target`. Rows are built term by term.
  void begin_row(double target, double weight = 1);
  // `slope` times the table's value at the coordinates. REQUIRES: a row was begun.
  void add_term(size_t table, const double* coordinates, double slope = 1);

  // Deterministic: the same rows in the same order give the same bits.
  std::vector<double> solve(const SmoothFitOptions& options) const;
  // The part of a solution that belongs to a table.
  LogTable table(size_t table, const std::vector<double>& solution) const;

 private:
  struct Row {
    size_t begin = 0;  // of its terms
    double target = 0;
    double weight = 1;
  };
  struct Table {
    LogTable grid;  // of zeros: gives knots and corners
    size_t offset = 0;
    double centre = 0;
  };
  std::vector<Row> rows_;
  std::vector<CellCorner> terms_;
  std::vector<Table> tables_;
  size_t unknowns_ = 0;
  size_t end_of(size_t row) const {
    return row + 1 < rows_.size() ? rows_[row + 1].begin : terms_.size();
  }
  double residual(size_t row, const std::vector<double>& solution) const;
  void add_penalties(const SmoothFitOptions& options, std::vector<double>* system,
                     std::vector<double>* right) const;
};

}  // namespace shardwright
