#include "costmodel/calibrate/validate_ops.h"

#include "tests/costmodel/calibrate/calibrate_support.h"

namespace shardwright {
namespace {

const std::string kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

const OpsErrors* row_of(const OpsReport& report, const std::string& subset) {
  for (const OpsErrors& row : report.errors) {
    if (row.subset == subset) return &row;
  }
  return nullptr;
}

TEST(ValidateOps, CountsSubsetsAndRefusesByName) {
  const TimingsFolder folder;
  const std::string good = folder.write("h100-sxm-80gb.bf16.csv",
                                        "m,n,k,latency_us\n1,64,64,5\n128,64,64,5\n"
                                        "1024,1024,1024,9\n1025,1024,1024,9\nbad\n");
  const std::string unknown = folder.write("q100.bf16.csv", "m,n,k,latency_us\n1,1,1,1\n");
  const OpsReport report = validate_ops({good, unknown}, kProfiles);
  ASSERT_NE(row_of(report, "all"), nullptr);
  EXPECT_EQ(row_of(report, "all")->rows, 4);
  EXPECT_EQ(row_of(report, "m>=128")->rows, 3);
  EXPECT_EQ(row_of(report, "training")->rows, 2);
  EXPECT_EQ(row_of(report, "training, m%16=0")->rows, 1);
  ASSERT_EQ(report.files.size(), 2u);
  EXPECT_EQ(report.files[0].lines.size(), 1u);
  EXPECT_NE(report.files[1].refused.find("q100"), std::string::npos);
}

// A price does not depend on the measured time: doubling it turns error e into (1 + e) / 2 - 1.
TEST(ValidateOps, ErrorsAreRelativeToTheMeasured) {
  const TimingsFolder folder;
  const std::string once =
      folder.write("h100-sxm-80gb.bf16.csv", "m,n,k,latency_us\n1024,1024,1024,9\n");
  const double error = row_of(validate_ops({once}, kProfiles), "all")->bias_pct / 100;
  folder.write("h100-sxm-80gb.bf16.csv", "m,n,k,latency_us\n1024,1024,1024,18\n");
  EXPECT_NEAR(row_of(validate_ops({once}, kProfiles), "all")->bias_pct / 100, (1 + error) / 2 - 1,
              1e-9);
}

}  // namespace
}  // namespace shardwright
