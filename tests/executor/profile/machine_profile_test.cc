#include "executor/profile/machine_profile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodel/pricer.h"
#include "executor/comm/wait.h"
#include "executor/profile/collective_curves.h"
#include "executor/profile/grids.h"

namespace shardwright {
namespace {

TEST(RankCounts, EndsAndPowersBetween) {
  EXPECT_EQ(rank_counts(1), (std::vector<int64_t>{1}));
  EXPECT_EQ(rank_counts(2), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(rank_counts(6), (std::vector<int64_t>{1, 2, 4, 6}));
  EXPECT_EQ(rank_counts(64), (std::vector<int64_t>{1, 2, 4, 64}));
}

TEST(GroupSizes, EachUpToEightThenPowers) {
  EXPECT_EQ(group_sizes(3), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(group_sizes(20), (std::vector<int64_t>{2, 3, 4, 5, 6, 7, 8, 16, 20}));
}

TEST(CollectiveSizes, StayWithinMemory) {
  EXPECT_EQ(collective_sizes(false, 5000), (std::vector<Bytes>{16, 256, 4096}));
  EXPECT_EQ(collective_sizes(false, Bytes{1} << 40).size(), 8u);
}

TEST(ProfileMachine, RefusesTooLittleTime) {
  for (double seconds : {0.0, -1.0, std::nan("")}) {
    ProfileOptions options;
    options.max_seconds = seconds;
    const Result<ClusterSpec> cluster = profile_machine(options);
    ASSERT_FALSE(cluster.ok());
    EXPECT_EQ(cluster.error().field, "max-seconds");
  }
}

// One quick profile for all that is said about profiles. Nothing here depends on speed.
class QuickProfile : public testing::Test {
 protected:
  static const ClusterSpec& cluster() {
    static const ClusterSpec profile = [] {
      ProfileOptions options;
      options.quick = true;
      options.progress = [](const std::string& text) { told().push_back(text); };
      return *profile_machine(options);
    }();
    return profile;
  }
  static std::vector<std::string>& told() {
    static std::vector<std::string> texts;
    return texts;
  }
  static std::vector<Work> works() {
    std::vector<Work> out;
    for (int i = 0; i < 3; ++i) out.push_back(GemmWork{static_cast<GemmLayout>(i), 300, 200, 100});
    for (bool backward : {false, true})
      out.push_back(AttentionWork{backward, 2, 100, 4, 4, 32, 32});
    for (int i = 0; i < static_cast<int>(PassKind::kCount); ++i) {
      out.push_back(pass_of(static_cast<PassKind>(i), 50'000, {}));
    }
    return out;
  }
};

TEST_F(QuickProfile, IsOneNodeOfThisMachinesCores) {
  EXPECT_EQ(cluster().num_devices(), usable_cores());
  ASSERT_EQ(cluster().levels.size(), 1u);
  EXPECT_EQ(cluster().levels[0].name, "shared-memory");
  EXPECT_FALSE(cluster().device_of(0).overlaps_communication);
  EXPECT_EQ(cluster().device_of(0).rates.size(), rank_counts(usable_cores()).size());
  ASSERT_FALSE(told().empty());
  EXPECT_EQ(told().front(), "gemm forward at 1 active 1/8");
}

TEST_F(QuickProfile, ReadsBackAsTheSameBytes) {
  const std::string text = to_json(cluster()).dump(2);
  const Result<Json> json = parse_json(text, "machine.json");
  ASSERT_TRUE(json.ok());
  const Result<ClusterSpec> read = read_cluster(*json, "machine.json", "/nowhere");
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(to_json(*read).dump(2), text);
}

TEST_F(QuickProfile, PricesAllWork) {
  for (int64_t active : {1, usable_cores()}) {
    const Pricer pricer(cluster(), 0, active);
    for (const Work& work : works()) {
      const double seconds = pricer.compute_s(work);
      EXPECT_TRUE(std::isfinite(seconds) && seconds > 0) << describe(work) << ": " << seconds;
    }
  }
}

TEST_F(QuickProfile, MuchMoreWorkTakesLonger) {
  const Pricer pricer(cluster(), 0, 1);
  for (int i = 0; i < 3; ++i) {
    const auto layout = static_cast<GemmLayout>(i);
    double before = 0;
    for (int64_t size : {64, 256, 1024, 4096}) {  // the last two outside of the grid
      const double seconds = pricer.gemm_s({layout, size, size, size});
      EXPECT_GT(seconds, before) << name_of(layout) << " " << size;
      before = seconds;
    }
  }
}

TEST_F(QuickProfile, PricesMessagesAndCollectives) {
  if (usable_cores() < 2) GTEST_SKIP() << "one core has nobody to talk to";
  for (int i = 0; i <= static_cast<int>(CollectiveKind::kReceive); ++i) {
    for (Bytes bytes : {Bytes{16}, Bytes{1} << 16, Bytes{1} << 28}) {
      const CollectiveWork work{static_cast<CollectiveKind>(i), Axis::kDp, bytes};
      const double seconds = collective_s(cluster(), work, {0, 1, 2});
      EXPECT_TRUE(std::isfinite(seconds) && seconds > 0) << describe(work);
    }
  }
}

}  // namespace
}  // namespace shardwright
