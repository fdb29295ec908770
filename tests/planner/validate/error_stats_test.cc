#include "planner/validate/error_stats.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

TEST(ErrorStats, OfASmallList) {
  const ErrorStats stats = error_stats({-10, 20, 0, -30, 40});
  EXPECT_EQ(stats.count, 5);
  EXPECT_DOUBLE_EQ(stats.mean_abs_pct, 20);
  EXPECT_DOUBLE_EQ(stats.median_abs_pct, 20);
  EXPECT_DOUBLE_EQ(stats.p90_abs_pct, 36);  // 0.9 * 4 = 3.6 of the way: 30 + 0.6 * 10
  EXPECT_DOUBLE_EQ(stats.max_abs_pct, 40);
  EXPECT_DOUBLE_EQ(stats.bias_pct, 4);
  EXPECT_EQ(error_stats({}).count, 0);
}

TEST(OomTable, BalancesBothLabels) {
  OomTable table;
  for (int i = 0; i < 3; ++i) table.add(true, true);
  table.add(false, true);
  for (int i = 0; i < 9; ++i) table.add(false, false);
  table.add(true, false);
  EXPECT_DOUBLE_EQ(table.precision(), 0.75);
  EXPECT_DOUBLE_EQ(table.recall(), 0.75);
  EXPECT_DOUBLE_EQ(table.balanced_accuracy(), (0.75 + 0.9) / 2);
  OomTable one;
  one.add(false, false);
  EXPECT_DOUBLE_EQ(one.balanced_accuracy(), 1);
  EXPECT_DOUBLE_EQ(OomTable().balanced_accuracy(), 0);
}

}  // namespace
}  // namespace shardwright
