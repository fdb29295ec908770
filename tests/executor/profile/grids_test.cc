#include "executor/profile/grids.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "executor/cpu/cpu_ops.h"
#include "executor/profile/work_runner.h"

namespace shardwright {
namespace {

bool is_knot(const std::vector<double>& knots, int64_t value) {
  return std::count(knots.begin(), knots.end(), static_cast<double>(value)) == 1;
}

TEST(Grids, ProductsLieOnKnotsCheapestFirst) {
  for (GemmLayout layout :
       {GemmLayout::kForward, GemmLayout::kInputGrad, GemmLayout::kWeightGrad}) {
    const Knots knots = gemm_knots(layout, {});
    const std::vector<GemmWork> grid = gemm_grid(layout, {});
    EXPECT_GE(grid.size(), 48u);
    for (const GemmWork& work : grid) {
      EXPECT_EQ(work.layout, layout);
      EXPECT_TRUE(is_knot(knots[0], work.m) && is_knot(knots[1], work.n) &&
                  is_knot(knots[2], work.k))
          << describe(work);
    }
    for (size_t i = 1; i < grid.size(); ++i) EXPECT_LE(grid[i - 1].flops(), grid[i].flops());
  }
}

TEST(Grids, TokensAreTheInnerSizeOfWeightGradients) {
  EXPECT_EQ(gemm_knots(GemmLayout::kWeightGrad, {})[2], gemm_knots(GemmLayout::kForward, {})[0]);
}

TEST(Grids, OperandsStayWithinTheLimit) {
  GridOptions small;
  small.most_elements = 1 << 18;
  for (const GemmWork& work : gemm_grid(GemmLayout::kForward, small)) {
    EXPECT_LE(std::max({work.m * work.n, work.m * work.k, work.n * work.k}), 1 << 18);
  }
  EXPECT_LT(pass_sizes(PassKind::kAdd, small).size(), pass_sizes(PassKind::kAdd, {}).size());
}

TEST(Grids, PassesHaveTheirElements) {
  for (int i = 0; i < static_cast<int>(PassKind::kCount); ++i) {
    const PassWork work = pass_of(static_cast<PassKind>(i), 1 << 16, {});
    EXPECT_NEAR(static_cast<double>(work.elements()), 1 << 16, 1 << 13) << describe(work);
    EXPECT_GE(work.bytes, work.elements() * 4);
  }
}

// Every kind of work has its Ops call, on shapes that do not divide evenly as well.
TEST(WorkRunner, RunsEveryKindOfWork) {
  const auto ops = make_cpu_ops(0);
  WorkRunner runner(*ops, 1 << 18);
  for (int i = 0; i < static_cast<int>(PassKind::kCount); ++i) {
    const auto kind = static_cast<PassKind>(i);
    if (kind == PassKind::kQuantise) continue;  // no kernel computes in fp8 here
    runner.run(pass_of(kind, 1 << 13, {}));
    runner.run(pass_of(kind, 5000, {}));
  }
  for (int i = 0; i < 3; ++i) runner.run(GemmWork{static_cast<GemmLayout>(i), 48, 33, 17});
  for (bool backward : {false, true}) {
    runner.run(AttentionWork{backward, 2, 19, 3, 3, 20, 20});
  }
  EXPECT_FALSE(runner.fits(GemmWork{GemmLayout::kForward, 1 << 10, 1 << 10, 64}));
}

TEST(Operands, ColdStretchesDoNotOverlapUntilTheRoundEnds) {
  const auto ops = make_cpu_ops(0);
  Operands operands(*ops, 4000);
  const float* first = operands.cold_read_floats(300);
  const float* second = operands.cold_read_floats(300);
  EXPECT_GE(second - first, 300);
  EXPECT_GE(operands.cold_read_floats(300) - second, 300);
  EXPECT_EQ(operands.cold_read(300), first);
  EXPECT_NE(operands.cold_write(300), first);
  EXPECT_EQ(operands.hot(2, 10), operands.hot(2, 10));
  EXPECT_NE(operands.hot(2, 10), operands.hot(1, 10));
}

}  // namespace
}  // namespace shardwright
