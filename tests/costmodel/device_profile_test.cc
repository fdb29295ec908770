#include "costmodel/device_profile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

double at(const LogTable& table, std::vector<double> coordinates) {
  return table.at(coordinates.data());
}

TEST(LogTable, InterpolatesInTheLogarithm) {
  const LogTable table({{1, 4, 64}}, {10, 20, 50});
  EXPECT_DOUBLE_EQ(at(table, {1}), 10);
  EXPECT_DOUBLE_EQ(at(table, {2}), 15);  // halfway from 2^0 to 2^2
  EXPECT_DOUBLE_EQ(at(table, {4}), 20);
  EXPECT_DOUBLE_EQ(at(table, {8}), 27.5);  // a quarter from 2^2 to 2^6
  EXPECT_DOUBLE_EQ(at(table, {64}), 50);
}

TEST(LogTable, ClampsAtTheEdges) {
  const LogTable table({{2, 4}, {8, 16}}, {1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(at(table, {0.5, 1}), 1);
  EXPECT_DOUBLE_EQ(at(table, {0.5, 1e9}), 2);
  EXPECT_DOUBLE_EQ(at(table, {1e9, 1}), 3);
  EXPECT_DOUBLE_EQ(at(table, {1e9, 1e9}), 4);
  EXPECT_DOUBLE_EQ(at(table, {1e9, std::sqrt(8.0 * 16)}), 3.5);
}

TEST(LogTable, AFunctionLinearInEachLogarithmIsExact) {
  // f = 1 + a + 2 b + 3 c + a b c with a, b, c the base-2 logarithms.
  const auto f = [](double a, double b, double c) { return 1 + a + 2 * b + 3 * c + a * b * c; };
  std::vector<double> values;
  for (double a : {0, 1, 3}) {
    for (double b : {0, 4}) {
      for (double c : {1, 2, 5, 6}) values.push_back(f(a, b, c));
    }
  }
  const LogTable table({{1, 2, 8}, {1, 16}, {2, 4, 32, 64}}, values);
  for (double a : {0.0, 0.25, 1.5, 3.0}) {
    for (double b : {0.0, 1.75, 4.0}) {
      for (double c : {1.0, 3.5, 5.5, 6.0}) {
        EXPECT_NEAR(at(table, {std::exp2(a), std::exp2(b), std::exp2(c)}), f(a, b, c), 1e-12);
      }
    }
  }
}

TEST(LogTable, OneKnotIsAConstant) {
  const LogTable table({{8}}, {7});
  EXPECT_EQ(at(table, {1}), 7);
  EXPECT_EQ(at(table, {8}), 7);
  EXPECT_EQ(at(table, {9}), 7);
}

TEST(Curve, InterpolatesInLogLog) {
  const std::vector<CurvePoint> curve = {{1, 1}, {4, 2}, {100, 2}};
  EXPECT_DOUBLE_EQ(interpolate(curve, 1), 1);
  EXPECT_DOUBLE_EQ(interpolate(curve, 2), std::sqrt(2.0));  // seconds = sqrt(size) there
  EXPECT_DOUBLE_EQ(interpolate(curve, 4), 2);
  EXPECT_DOUBLE_EQ(interpolate(curve, 50), 2);
}

TEST(Curve, BelowTheFirstPointIsTheFirstTime) {
  EXPECT_EQ(interpolate({{8, 3}, {16, 5}}, 0), 3);
  EXPECT_EQ(interpolate({{8, 3}, {16, 5}}, 7), 3);
}

TEST(Curve, AboveTheLastPointGrowsBySlope) {
  EXPECT_DOUBLE_EQ(interpolate({{8, 3}, {16, 5}}, 16), 5);
  EXPECT_DOUBLE_EQ(interpolate({{8, 3}, {16, 5}}, 32), 5 + 16 * (5.0 - 3) / 8);
  EXPECT_DOUBLE_EQ(interpolate({{8, 3}}, 16), 6);           // one point: in proportion
  EXPECT_DOUBLE_EQ(interpolate({{8, 3}, {16, 2}}, 32), 4);  // falling: in proportion
}

TEST(Curve, EmptyIsABrokenInvariant) { EXPECT_THROW(interpolate({}, 1), BrokenInvariant); }

TEST(DeviceProfile, RatesForTheNextLargerNumberOfRanks) {
  DeviceProfile device;
  EXPECT_THROW(device.rates_for(1), BrokenInvariant);
  for (int64_t ranks : {1, 4, 8}) device.rates.push_back(RateSet{ranks, {}, {}, {}, {}});
  EXPECT_EQ(device.rates_for(1).active_ranks, 1);
  EXPECT_EQ(device.rates_for(2).active_ranks, 4);
  EXPECT_EQ(device.rates_for(8).active_ranks, 8);
  EXPECT_EQ(device.rates_for(9).active_ranks, 8);
}

// A profile that uses every optional part.
Json full_device() {
  Json json = toy_device();
  const Json curve = {
      {"kind", "all_gather"}, {"ranks", 4}, {"points", Json::array({Json::array({1024.0, 1e-5})})}};
  json["links"] = Json::array({{{"name", "wire"},
                                {"scope", "network"},
                                {"gb_per_s", 12.3},
                                {"latency_us", 0.7},
                                {"topology", "ring"},
                                {"curves", Json::array({curve})}}});
  json["power"] = {{"watts", 350.5}, {"source", "data sheet"}};
  json["host_link"] = {{"gb_per_s", 64.5}, {"source", "data sheet"}};
  Json rates = json["rates"][0];
  rates["active_ranks"] = 3;
  rates["gemm"]["bf16"]["forward"]["correction"] = {{"knots", {{1.0, 2.0}, {1.0}, {16.0, 32.0}}},
                                                    {"values", {0.1, 0.2, -0.3, 0.4}}};
  rates["passes"]["rms_norm"] = Json::array({Json::array({1.0, 1e-6}), Json::array({64.0, 3e-6})});
  json["rates"].push_back(rates);
  // Written in the same order as a profile is written; optional keys come where to_json puts them.
  const Json moved = json["rates"];
  json.erase("rates");
  const Json links = json["links"];
  json.erase("links");
  json["links"] = links;
  json["rates"] = moved;
  return json;
}

TEST(DeviceProfileJson, ReadsEveryPart) {
  const Result<DeviceProfile> device = read_toy_device(full_device());
  ASSERT_TRUE(device.ok()) << device.error().line();
  EXPECT_EQ(device->name, "toy");
  EXPECT_EQ(device->memory_bytes, 1 << 30);
  EXPECT_EQ(device->peak_flops_per_s.at(DataType::kBf16), 1e14);
  EXPECT_EQ(device->power.watts, 350.5);
  EXPECT_EQ(device->host_link.bytes_per_s, 64.5e9);
  EXPECT_EQ(device->power.source, "data sheet");
  ASSERT_EQ(device->links.size(), 1u);
  EXPECT_TRUE(device->links[0].network);
  EXPECT_DOUBLE_EQ(device->links[0].bytes_per_s, 12.3e9);
  EXPECT_DOUBLE_EQ(device->links[0].latency_s, 0.7e-6);
  ASSERT_EQ(device->links[0].curves.size(), 1u);
  EXPECT_EQ(device->links[0].curves[0].ranks, 4);
  ASSERT_EQ(device->rates.size(), 2u);
  const RateSet& rates = device->rates_for(2);
  EXPECT_EQ(rates.gemm.at(DataType::kBf16)[0]->correction.values()[2], -0.3);
  EXPECT_TRUE(rates.gemm.at(DataType::kBf16)[1]->correction.empty());
  EXPECT_EQ(rates.passes.at(PassKind::kRmsNorm)[1].seconds, 3e-6);
}

TEST(DeviceProfileJson, RoundTripsByteForByte) {
  const Result<DeviceProfile> device = read_toy_device(full_device());
  ASSERT_TRUE(device.ok()) << device.error().line();
  EXPECT_EQ(to_json(*device).dump(2), full_device().dump(2));
}

TEST(DeviceProfileJson, ScaledUnitsAreStable) {
  // Numbers whose double times 1e9 or 1e-6 is not the nearest to the decimal product.
  for (double number : {0.1, 0.3, 1.14, 1.57, 12.3, 23.5, 47.0, 704.0, 333.333, 1e-9, 1.0 / 3}) {
    Json json = full_device();
    json["links"][0]["gb_per_s"] = number;
    json["links"][0]["latency_us"] = number;
    EXPECT_EQ(to_json(*read_toy_device(json)).dump(), json.dump()) << number;
  }
}

TEST(DeviceProfileJson, AnyMeasuredBandwidthIsStableOnceWritten) {
  DeviceProfile device = *read_toy_device(full_device());
  double value = 1.0;
  for (int i = 0; i < 2000; ++i, value = value * 1.37 + 0.1) {
    if (value > 1e17) value = 1.0 + i * 1e-3;
    device.links[0].bytes_per_s = value;
    device.links[0].latency_s = value * 1e-14;
    const Json once = to_json(device);
    ASSERT_EQ(to_json(*read_toy_device(once)).dump(), once.dump()) << value;
  }
}

struct Rejection {
  const char* pointer;  // JSON pointer to what is replaced; the value null removes it
  Json value;
  const char* error;  // part of the line
};

void PrintTo(const Rejection& rejection, std::ostream* out) {
  *out << rejection.pointer << " = " << rejection.value.dump();
}

class DeviceRejects : public testing::TestWithParam<Rejection> {};

TEST_P(DeviceRejects, NamesTheField) {
  Json json = full_device();
  json[Json::json_pointer(GetParam().pointer)] = GetParam().value;
  const Result<DeviceProfile> device = read_device_profile(json, "d.json", "devices.toy.");
  ASSERT_FALSE(device.ok());
  const std::string line = device.error().line();
  EXPECT_EQ(line.rfind("d.json: devices.toy.", 0), 0u) << line;
  EXPECT_NE(line.find(GetParam().error), std::string::npos) << line;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, DeviceRejects,
    testing::Values(
        Rejection{"/schema", "shardwright.device/2", "schema: found"},
        Rejection{"/schema", nullptr, "schema: found nothing"},
        Rejection{"/extra", 1, "extra: found an unknown key"},
        Rejection{"/name", "a/b", "name: found"}, Rejection{"/name", ".hidden", "name: found"},
        Rejection{"/name", "", "name: found"}, Rejection{"/source", nullptr, "source"},
        Rejection{"/memory_bytes", 0, "memory_bytes"},
        Rejection{"/memory_bytes", 1.5, "memory_bytes"},
        Rejection{"/memory_bytes_per_s", 0, "memory_bytes_per_s"},
        Rejection{"/launch_s", -1, "launch_s"}, Rejection{"/pass_floor_s", "x", "pass_floor_s"},
        Rejection{"/pass_bandwidth_share", 0, "pass_bandwidth_share"},
        Rejection{"/overlaps_communication", 1, "overlaps_communication"},
        Rejection{"/peak_flops_per_s", nullptr, "peak_flops_per_s"},
        Rejection{"/peak_flops_per_s", Json::object(), "peak_flops_per_s: found no data type"},
        Rejection{"/peak_flops_per_s/int8", 1e12, "peak_flops_per_s.int8: found an unknown key"},
        Rejection{"/peak_flops_per_s/bf16", 0, "peak_flops_per_s.bf16"},
        Rejection{"/peak_flops_per_s/bf16", nullptr, "rates[0].gemm.bf16: found a data type"}));

INSTANTIATE_TEST_SUITE_P(
    Links, DeviceRejects,
    testing::Values(
        Rejection{"/links/0/scope", "rack", "links[0].scope: found"},
        Rejection{"/links/0/gb_per_s", 0, "links[0].gb_per_s"},
        Rejection{"/links/0/latency_us", -1, "links[0].latency_us"},
        Rejection{"/links/0/more", 1, "links[0].more: found an unknown key"},
        Rejection{"/links/1", full_device()["links"][0], "links[1].scope: found a second"},
        Rejection{"/links/0/curves/0/kind", "gather", "curves[0].kind: found"},
        Rejection{"/links/0/curves/0/ranks", 1, "curves[0].ranks"},
        Rejection{"/links/0/curves/0/points", Json::array(), "points: found an empty"},
        Rejection{"/links/0/curves/0/points/0", 1, "points[0]: found 1"},
        Rejection{"/links/0/curves/0/points/0/0", 0, "points[0]: found"},
        Rejection{"/links/0/curves/0/points/1", Json::array({1024, 1}), "points[1][0]: found 1024"},
        Rejection{"/links/0/curves/1", full_device()["links"][0]["curves"][0],
                  "curves[1]: found a second curve for all_gather of 4 ranks"}));

INSTANTIATE_TEST_SUITE_P(
    Rates, DeviceRejects,
    testing::Values(
        Rejection{"/rates", Json::array(), "rates: found an empty list"},
        Rejection{"/rates/1/active_ranks", 1, "rates[1].active_ranks: found 1"},
        Rejection{"/rates/0/active_ranks", 0, "rates[0].active_ranks"},
        Rejection{"/rates/0/speed", 1, "rates[0].speed: found an unknown key"},
        Rejection{"/rates/0/gemm/int8", Json::object(), "rates[0].gemm.int8: found an unknown"},
        Rejection{"/rates/0/gemm/bf16/forward", nullptr, "rates[0].gemm.bf16.forward"},
        Rejection{"/rates/0/gemm/bf16/sideways", 1, "gemm.bf16.sideways: found an unknown key"},
        Rejection{"/rates/0/gemm/fp8", full_device()["rates"][0]["gemm"]["bf16"],
                  "rates[0].gemm.fp8: found a data type without a peak"},
        Rejection{"/rates/0/attention/fp8", full_device()["rates"][0]["attention"]["bf16"],
                  "rates[0].attention.fp8: found a data type without a peak"},
        Rejection{"/rates/1/gemm/bf16/forward/flop_share", 0, "bf16.forward.flop_share"},
        Rejection{"/rates/1/gemm/bf16/forward/floor", 0, "forward.floor: found an unknown key"},
        Rejection{"/rates/1/gemm/bf16/forward/correction/knots", Json::array({Json::array({1})}),
                  "correction.knots: found a list of 1 element"},
        Rejection{"/rates/1/gemm/bf16/forward/correction/knots/1", Json::array(),
                  "knots[1]: found an empty list"},
        Rejection{"/rates/1/gemm/bf16/forward/correction/knots/0", Json::array({2, 2}),
                  "knots[0]: found 2, expected knots that ascend"},
        Rejection{"/rates/1/gemm/bf16/forward/correction/knots/0/1", -1, "knots[0][1]: found -1"},
        Rejection{"/rates/1/gemm/bf16/forward/correction/values/4", 0,
                  "correction.values: found 5 values, expected 4"},
        Rejection{"/rates/1/passes/dance", Json::array(), "passes.dance: found an unknown pass"},
        Rejection{"/rates/1/passes/rms_norm", 3, "passes.rms_norm: found 3"},
        Rejection{"/rates/1/passes/rms_norm/1/0", 1.0, "passes.rms_norm[1][0]: found 1"}));

TEST(DeviceProfileJson, ShippedProfilesReadAndRoundTrip) {
  const std::string profiles = SHARDWRIGHT_SOURCE_DIR "/profiles";
  const std::vector<std::string> names = shipped_names("devices", profiles);
  ASSERT_GE(names.size(), 4u);
  for (const std::string& name : names) {
    const Result<DeviceProfile> device = load_shipped_device(name, profiles);
    ASSERT_TRUE(device.ok()) << device.error().line();
    EXPECT_FALSE(device->source.empty()) << name;
    const Json json = to_json(*device);
    EXPECT_EQ(to_json(*read_toy_device(json)).dump(), json.dump()) << name;
  }
}

}  // namespace
}  // namespace shardwright
