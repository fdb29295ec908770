#include "costmodel/pricer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

// Prices on a cluster whose device is toy_device() changed by the test.
class PricerTest : public testing::Test {
 protected:
  const Pricer pricer(int64_t active_ranks = 1) {
    Json json = toy_cluster();
    json["devices"]["toy"] = device_;
    cluster_ = *read_toy(json);
    return Pricer(cluster_, 0, active_ranks);
  }

  Json device_ = toy_device();
  ClusterSpec cluster_;
};

TEST_F(PricerTest, GemmIsFloorAndRoofline) {
  const GemmWork work{GemmLayout::kForward, 512, 1024, 2048, 1, DataType::kBf16};
  const double flops = 2.0 * 512 * 1024 * 2048;
  const double bytes = 2.0 * (512 * 2048 + 1024 * 2048 + 512 * 1024);
  EXPECT_DOUBLE_EQ(pricer().gemm_s(work), 3e-6 + flops / 0.5e14 + bytes / 0.5e12);
  EXPECT_EQ(pricer().compute_s(work), pricer().gemm_s(work));
}

TEST_F(PricerTest, EqualProductsShareOneFloor) {
  GemmWork work{GemmLayout::kForward, 64, 64, 64, 1, DataType::kBf16};
  const double one = pricer().gemm_s(work);
  work.count = 8;
  EXPECT_NEAR(pricer().gemm_s(work), 3e-6 + 8 * (one - 3e-6), 1e-15);
}

TEST_F(PricerTest, EachLayoutHasItsModel) {
  Json& models = device_["rates"][0]["gemm"]["bf16"];
  models["input_grad"]["floor_s"] = 1.0;
  models["weight_grad"]["floor_s"] = 2.0;
  GemmWork work{GemmLayout::kInputGrad, 1, 1, 1, 1, DataType::kBf16};
  EXPECT_NEAR(pricer().gemm_s(work), 1.0, 1e-9);
  work.layout = GemmLayout::kWeightGrad;
  EXPECT_NEAR(pricer().gemm_s(work), 2.0, 1e-9);
}

TEST_F(PricerTest, GemmCorrectionMultipliesAndLaunchAdds) {
  const GemmWork work{GemmLayout::kForward, 128, 32, 16, 1, DataType::kBf16};
  const double plain = pricer().gemm_s(work);
  device_["launch_s"] = 1e-3;
  // Axes m, n, k: the value ln 2 stands at m = 64 and ln 8 at m = 256, so ln 4 at m = 128.
  device_["rates"][0]["gemm"]["bf16"]["forward"]["correction"] = {
      {"knots", {{64.0, 256.0}, {1.0}, {1.0}}}, {"values", {std::log(2.0), std::log(8.0)}}};
  EXPECT_NEAR(pricer().gemm_s(work), 1e-3 + 4 * plain, 1e-15);
}

TEST_F(PricerTest, AttentionForwardAndBackward) {
  AttentionWork work{false, 2, 1024, 8, 2, 64, 64, 0, DataType::kBf16};
  const double pairs = 1024.0 * 1025 / 2;
  const double flops = 2.0 * 2 * 8 * pairs * 128;
  const double bytes = 2.0 * 2 * 1024 * (8 + 2) * 128;
  EXPECT_DOUBLE_EQ(pricer().attention_s(work), 3e-6 + flops / 0.5e14 + bytes / 0.5e12);
  EXPECT_EQ(pricer().compute_s(work), pricer().attention_s(work));
  device_["rates"][0]["attention"]["bf16"]["backward"]["flop_share"] = 0.25;
  work.backward = true;
  EXPECT_DOUBLE_EQ(pricer().attention_s(work), 3e-6 + 2.5 * flops / 0.25e14 + 2 * bytes / 0.5e12);
}

TEST_F(PricerTest, AttentionCorrectionAxes) {
  const AttentionWork work{false, 2, 1024, 8, 2, 64, 64, 0, DataType::kBf16};
  const double plain = pricer().attention_s(work);
  // One knot is exact on each axis: seq 1024, batch * heads 16, head_dim 64.
  device_["rates"][0]["attention"]["bf16"]["forward"]["correction"] = {
      {"knots", {{1.0, 1024.0}, {16.0, 64.0}, {64.0, 128.0}}},
      {"values", {0.0, 0.0, 0.0, 0.0, std::log(3.0), 0.0, 0.0, 0.0}}};
  EXPECT_NEAR(pricer().attention_s(work), 3 * plain, 1e-15);
}

TEST_F(PricerTest, PassByBandwidthOrCurve) {
  const PassWork work{PassKind::kAdd, 100, 64, 1000000};
  EXPECT_DOUBLE_EQ(pricer().pass_s(work), 2e-6 + 1e6 / 0.5e12);
  device_["launch_s"] = 1e-3;
  device_["rates"][0]["passes"]["add"] =
      Json::array({Json::array({1600.0, 1e-6}), Json::array({25600.0, 4e-6})});
  EXPECT_NEAR(pricer().pass_s(work), 1e-3 + 2e-6, 1e-15);  // 6400 elements: halfway, sqrt(1 * 4)
  EXPECT_NEAR(pricer().pass_s({PassKind::kFill, 100, 64, 1000000}), 1e-3 + 4e-6, 1e-15);
  EXPECT_EQ(pricer().compute_s(work), pricer().pass_s(work));
}

// Equal passes are launched one by one, so each pays its floor; bytes are those of all.
TEST_F(PricerTest, EqualPassesPayTheirFloorEach) {
  const PassWork one{PassKind::kAdd, 100, 64, 1000000};
  const PassWork four{PassKind::kAdd, 100, 64, 4000000, 4};
  EXPECT_DOUBLE_EQ(pricer().pass_s(four), 4 * pricer().pass_s(one));
}

TEST_F(PricerTest, RatesOfTheActiveRanks) {
  Json rates = device_["rates"][0];
  rates["active_ranks"] = 4;
  rates["gemm"]["bf16"]["forward"]["floor_s"] = 1.0;
  device_["rates"].push_back(rates);
  const GemmWork work{GemmLayout::kForward, 1, 1, 1, 1, DataType::kBf16};
  EXPECT_LT(pricer(1).gemm_s(work), 1e-5);
  EXPECT_NEAR(pricer(3).gemm_s(work), 1.0, 1e-9);
}

TEST_F(PricerTest, TypeWithAPeakButNoModelTakesTheDefaults) {
  const GemmModel standard;
  const GemmWork work{GemmLayout::kForward, 64, 64, 64, 1, DataType::kFp32};
  EXPECT_DOUBLE_EQ(pricer().gemm_s(work),
                   standard.floor_s + work.flops() / (standard.flop_share * 1e13) +
                       static_cast<double>(work.bytes()) / (standard.bandwidth_share * 1e12));
}

TEST_F(PricerTest, TypeWithoutAPeak) {
  const Pricer prices = pricer();
  EXPECT_THROW(prices.gemm_s({GemmLayout::kForward, 1, 1, 1, 1, DataType::kFp8}), BrokenInvariant);
  EXPECT_FALSE(check_supports(cluster_, DataType::kBf16).has_value());
  const std::optional<Error> error = check_supports(cluster_, DataType::kFp8);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->line(),
            "c.json: devices.toy.peak_flops_per_s: found no fp8, expected a data type among fp32, "
            "bf16");
}

TEST_F(PricerTest, CollectiveWithoutAGroupIsABrokenInvariant) {
  EXPECT_THROW(pricer().compute_s(CollectiveWork{}), BrokenInvariant);
}

}  // namespace
}  // namespace shardwright
