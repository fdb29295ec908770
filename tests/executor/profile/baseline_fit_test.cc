#include "executor/profile/baseline_fit.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

BaselinePoint point(const Baseline& law, double flops, double bytes) {
  return {flops, bytes, law.floor_s + law.s_per_flop * flops + law.s_per_byte * bytes};
}

std::vector<BaselinePoint> points_of(const Baseline& law) {
  return {point(law, 1e5, 1e5), point(law, 1e7, 1e5), point(law, 1e9, 4e6), point(law, 1e9, 9e7),
          point(law, 5e6, 2e7)};
}

TEST(FitBaseline, FindsTheLawBehindExactTimes) {
  const Baseline law{2e-6, 1e-11, 1e-10};
  const Baseline fit = fit_baseline(points_of(law));
  EXPECT_NEAR(fit.floor_s / law.floor_s, 1, 1e-6);
  EXPECT_NEAR(fit.s_per_flop / law.s_per_flop, 1, 1e-6);
  EXPECT_NEAR(fit.s_per_byte / law.s_per_byte, 1, 1e-6);
}

TEST(FitBaseline, LeavesOutATermThatWouldBeNegative) {
  std::vector<BaselinePoint> points = points_of({2e-6, 1e-11, 0});
  for (size_t i : {3, 4}) points[i].seconds *= 0.9;  // those with most bytes for their FLOPs
  const Baseline fit = fit_baseline(points);
  EXPECT_EQ(fit.s_per_byte, 0);
  EXPECT_GT(fit.s_per_flop, 0);
  EXPECT_GE(fit.floor_s, 0);
}

TEST(FitBaseline, OnePointIsAllFlops) {
  const Baseline fit = fit_baseline({{1e6, 1e4, 1e-4}});
  EXPECT_DOUBLE_EQ(fit.s_per_flop, 1e-10);
  EXPECT_EQ(fit.floor_s, 0);
}

}  // namespace
}  // namespace shardwright
