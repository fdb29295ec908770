#include "costmodel/calibrate/smooth_fit.h"

#include <gtest/gtest.h>

#include <cmath>

namespace shardwright {
namespace {

const std::vector<std::vector<double>> kKnots = {{1, 4, 16}, {2, 8}};

// With next to no penalty, rows that a table can express give that table back.
TEST(SmoothFit, RecoversATable) {
  const LogTable truth(kKnots, {0.1, -0.2, 0.3, 0.4, -0.5, 0.6});
  SmoothFit fit;
  const size_t table = fit.add_table(kKnots);
  for (double a : {1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 16.0}) {
    for (double b : {2.0, 3.0, 5.0, 8.0}) {
      const double at[] = {a, b};
      fit.begin_row(truth.at(at));
      fit.add_term(table, at);
    }
  }
  const LogTable found = fit.table(table, fit.solve({1e-9, 1e-9, 1, 0.03}));
  // Penalties of 1e-9 beside rows of weight 1 move values by about as much.
  for (size_t i = 0; i < truth.values().size(); ++i) {
    EXPECT_NEAR(found.values()[i], truth.values()[i], 1e-6);
  }
}

TEST(SmoothFit, KnotsWithoutRowsTakeTheirNeighbours) {
  SmoothFit fit;
  const size_t table = fit.add_table({{1, 2, 4}});
  const double at[] = {1};
  for (int i = 0; i < 1000; ++i) {
    fit.begin_row(0.5);
    fit.add_term(table, at);
  }
  // Only differences cost: all three are equal.
  const LogTable found = fit.table(table, fit.solve({1, 1e-9, 1, 0.03}));
  for (double value : found.values()) EXPECT_NEAR(value, 0.5, 1e-5);
}

// Nine rows say 0, one says 10. The mean is 1; the median is 0.
TEST(SmoothFit, OutliersCountLittle) {
  SmoothFit fit;
  const size_t table = fit.add_table({{1}});
  const double at[] = {1};
  for (int i = 0; i < 10; ++i) {
    fit.begin_row(i == 9 ? 10 : 0);
    fit.add_term(table, at);
  }
  EXPECT_NEAR(fit.solve({0, 1e-12, 1, 0.03})[0], 1, 1e-6);
  // One row of weight 0.03 / 10 pulls by 0.03 against nine of weight one.
  EXPECT_NEAR(fit.solve({0, 1e-12, 12, 0.03})[0], 0.03 / 9, 1e-3);
}

// target = 2 * first + 3 * second, with first = 1 and second = -1 told apart by other rows.
TEST(SmoothFit, TermsOfTwoTablesWithSlopes) {
  SmoothFit fit;
  const size_t first = fit.add_table({{1}}), second = fit.add_table({{1}});
  const double at[] = {1};
  fit.begin_row(2 * 1.0 - 3 * 1.0);
  fit.add_term(first, at, 2);
  fit.add_term(second, at, 3);
  fit.begin_row(1);
  fit.add_term(first, at);
  const std::vector<double> solution = fit.solve({0, 1e-12, 1, 0.03});
  EXPECT_NEAR(fit.table(first, solution).values()[0], 1, 1e-6);
  EXPECT_NEAR(fit.table(second, solution).values()[0], -1, 1e-6);
}

}  // namespace
}  // namespace shardwright
