#include "executor/profile/model_fit.h"

#include <gtest/gtest.h>

#include <cmath>

#include "costmodel/check.h"
#include "costmodel/pricer.h"

namespace shardwright {
namespace {

TEST(FillTable, MissingCellsTakeTheNearest) {
  const Knots knots = {{{1, 2, 4}, {8}, {16, 32}}};
  const LogTable table =
      fill_table(knots, {{{1, 8, 16}, 0.1}, {{2, 8, 16}, 0.2}, {{1, 8, 32}, 0.4}});
  const std::vector<double> expected = {
      0.1, 0.4,  // measured
      0.2, 0.3,  // (2, 8, 32): the mean of two neighbours one knot away
      0.2, 0.3,  // (4, 8, 16): one knot from 0.2; (4, 8, 32): two knots from 0.2 and from 0.4
  };
  ASSERT_EQ(table.values().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(table.values()[i], expected[i], 1e-9);
  ASSERT_EQ(table.knots().size(), 3u);
  EXPECT_EQ(table.knots()[2], (std::vector<double>{16, 32}));
}

TEST(FillTable, RefusesAPointOffTheKnots) {
  const Knots knots = {{{1, 2}, {8}, {16}}};
  EXPECT_THROW(fill_table(knots, {{{3, 8, 16}, 0.1}}), BrokenInvariant);
}

TEST(LowerEnvelope, LessNeverTakesLonger) {
  const auto curve = lower_envelope({{1, 5}, {2, 3}, {4, 4}, {8, 3.5}});
  EXPECT_EQ(curve[0].seconds, 3);
  EXPECT_EQ(curve[1].seconds, 3);
  EXPECT_EQ(curve[2].seconds, 3.5);
  EXPECT_EQ(curve[3].seconds, 3.5);
}

TEST(Rounded, KeepsSignificantDigits) {
  EXPECT_EQ(rounded(1.23456e-5, 3), 1.23e-5);
  EXPECT_EQ(rounded(987654321, 2), 990000000);
  EXPECT_EQ(rounded(0, 4), 0);
}

// The pricer gives back what was measured at the knots.
TEST(FitGemm, PricesTheMeasuredTimes) {
  GridOptions grid;
  grid.quick = true;
  const GemmLayout layout = GemmLayout::kWeightGrad;
  std::vector<Measured<GemmWork>> times;
  for (const GemmWork& work : gemm_grid(layout, grid)) {
    const double odd = work.m == 64 ? 1.3 : 1;  // something that the formula cannot express
    times.push_back({work, odd * (3e-6 + work.flops() / 8e10)});
  }
  ClusterSpec cluster;
  DeviceProfile& device = cluster.devices["toy"];
  device.memory_bytes_per_s = 1e10;
  device.peak_flops_per_s[DataType::kFp32] = 1e11;
  device.rates.resize(1);
  device.rates[0].gemm[DataType::kFp32][static_cast<size_t>(layout)] =
      fit_gemm(gemm_knots(layout, grid), times, {1e11, 1e10});
  cluster.groups = {{"toy", 1, 1}};
  const Pricer pricer(cluster, 0, 1);
  for (const auto& [work, seconds] : times) {
    EXPECT_NEAR(pricer.gemm_s(work) / seconds, 1, 1e-3) << describe(work);
  }
}

}  // namespace
}  // namespace shardwright
