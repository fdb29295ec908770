#include "costmodel/calibrate/calibrate_device.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/json_text.h"
#include "costmodel/pricer.h"
#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

DeviceProfile toy_base() {
  Json json = toy_device();
  json["peak_flops_per_s"]["fp8"] = 2e14;
  json["links"] = Json::array({{{"name", "wire"},
                                {"scope", "node"},
                                {"gb_per_s", 10.0},
                                {"latency_us", 1.0},
                                {"topology", "switch"}}});
  return *read_toy_device(json);
}

ClusterSpec bench_of(const DeviceProfile& device) {
  ClusterSpec out;
  out.groups = {{"toy", 8, 1}};
  out.levels = {{"wire", 8, 1e10, 1e-6, "switch", device.links.at(0).curves}};
  out.devices.emplace("toy", device);
  return out;
}

MeasuredOps products(DataType type, double (*seconds)(const GemmWork&)) {
  MeasuredOps out;
  out.kind = OpKind::kGemm;
  out.device = "toy";
  out.type = type;
  // As dense as published timings: about ten rows for each knot, so that smoothing weighs little.
  const std::vector<int64_t> widths = {32,   64,   128,  256,  512,  768,   1024,  1536,
                                       2048, 3072, 4096, 6144, 8192, 12288, 16384, 65536};
  for (int64_t m : {2, 4, 8, 16, 32, 64, 96, 128, 256, 384, 512, 1000, 1024, 2048, 4096, 8192}) {
    for (int64_t n : widths) {
      for (int64_t k : widths) {
        MeasuredOp op;
        op.gemm = {GemmLayout::kForward, m, n, k, 1, type};
        op.seconds = seconds(op.gemm);
        out.ops.push_back(op);
      }
    }
  }
  return out;
}

// Floor, half of the peak and half of the bandwidth of the toy device, in a sum.
double plain_s(const GemmWork& work) {
  const double peak = work.type == DataType::kFp8 ? 2e14 : 1e14;
  return 4e-6 + work.flops() / (0.5 * peak) + static_cast<double>(work.bytes()) / 0.5e12;
}
double quantised_s(const GemmWork& work) {
  return plain_s(work) + 2e-6 +
         3.0 * static_cast<double>(work.m) * static_cast<double>(work.k) / 0.8e12;
}

TEST(CalibrateDevice, PricesTheTimedProducts) {
  const auto fitted = calibrate_device(toy_base(), {products(DataType::kBf16, plain_s)}, {});
  ASSERT_TRUE(fitted.ok()) << fitted.error().line();
  const ClusterSpec bench = bench_of(*fitted);
  const Pricer pricer(bench, 0, 1);
  // Off the timed grid: the tables bend between knots by a few percent of a smooth formula.
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{1024, 1024, 1024}, {4096, 2048, 4096}, {128, 4096, 512}}) {
    const GemmWork work{GemmLayout::kForward, m, n, k, 1, DataType::kBf16};
    EXPECT_NEAR(pricer.gemm_s(work) / plain_s(work), 1, 0.06) << describe(work);
  }
  // Other layouts take the forward's time while no factor is stated.
  GemmWork work{GemmLayout::kForward, 1024, 1024, 1024, 1, DataType::kBf16};
  const double forward_s = pricer.gemm_s(work);
  work.layout = GemmLayout::kWeightGrad;
  EXPECT_EQ(pricer.gemm_s(work), forward_s);
}

TEST(CalibrateDevice, Fp8SeparatesQuantisation) {
  const auto fitted = calibrate_device(toy_base(), {products(DataType::kFp8, quantised_s)}, {});
  ASSERT_TRUE(fitted.ok()) << fitted.error().line();
  const ClusterSpec bench = bench_of(*fitted);
  const Pricer pricer(bench, 0, 1);
  const GemmWork work{GemmLayout::kForward, 4096, 4096, 4096, 1, DataType::kFp8};
  const double both_s = pricer.gemm_s(work) + pricer.pass_s({PassKind::kQuantise, 4096, 4096, 0});
  EXPECT_NEAR(both_s / quantised_s(work), 1, 0.05);
  // The product alone is less than what was timed; how much less is told by the timings at small n
  // only, hence no closer bound.
  EXPECT_LT(pricer.gemm_s(work), 0.98 * quantised_s(work));
}

TEST(CalibrateDevice, CurvesAreLowerEnvelopes) {
  MeasuredOps file;
  file.kind = OpKind::kCollectives;
  file.device = "toy";
  for (const auto& [bytes, seconds] : {std::pair<Bytes, double>{512, 9e-6}, {1024, 5e-6}}) {
    MeasuredOp op;
    op.ranks = 4;
    op.bytes = bytes;
    op.seconds = seconds;
    file.ops.push_back(op);
  }
  const auto fitted = calibrate_device(toy_base(), {file}, {});
  ASSERT_TRUE(fitted.ok()) << fitted.error().line();
  const std::vector<CollectiveCurve>& curves = fitted->links.at(0).curves;
  ASSERT_EQ(curves.size(), 1u);
  EXPECT_EQ(curves[0].points.at(0).seconds, 5e-6);
  const auto without = calibrate_device(toy_base(), {file}, {false, false});
  EXPECT_TRUE(without->links.at(0).curves.empty());
}

TEST(CalibrateDevice, NeedsTimingsOfTheDevice) {
  MeasuredOps other = products(DataType::kBf16, plain_s);
  other.device = "other";
  const auto none = calibrate_device(toy_base(), {other}, {});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().field, "device");
}

// A handful of rows would leave the whole table to the smoothing.
TEST(CalibrateDevice, NeedsEnoughTimings) {
  MeasuredOps few = products(DataType::kBf16, plain_s);
  few.file = "few.csv";
  few.ops.resize(47);
  const auto fitted = calibrate_device(toy_base(), {few}, {});
  ASSERT_FALSE(fitted.ok());
  EXPECT_EQ(fitted.error().line(), "few.csv: found 47 rows with a timing, expected at least 48");
}

// Anyone can make the shipped profile again, byte for byte.
TEST(CalibrateDevice, ShippedProfileComesFromTheTimings) {
  const std::string timings = SHARDWRIGHT_SHARED_DIR "/measured_ops";
  if (!std::filesystem::exists(timings)) GTEST_SKIP() << "no timings at " << timings;
  const std::string profiles = SHARDWRIGHT_SOURCE_DIR "/profiles";
  const auto shipped = load_shipped_device("h100-sxm-80gb", profiles);
  ASSERT_TRUE(shipped.ok());
  std::vector<MeasuredOps> files;
  for (const char* name :
       {"gemm/h100-sxm-80gb.bf16.csv", "gemm/h100-sxm-80gb.fp8.csv",
        "attention/h100-sxm-80gb.bf16.csv", "collectives/h100-sxm-80gb.nccl.csv"}) {
    files.push_back(*read_measured_ops(timings + "/" + name));
  }
  const auto fitted = calibrate_device(*shipped, files, {});
  ASSERT_TRUE(fitted.ok());
  const auto text = read_file(profiles + "/devices/h100-sxm-80gb.json");
  EXPECT_TRUE(page_text(to_json(*fitted)) == *text) << "tools/calibrate_devices.sh makes it again";
}

}  // namespace
}  // namespace shardwright
