#include "executor/comm/staged_comm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "executor/comm/staging.h"
#include "executor/comm/thread_comm.h"
#include "executor/host_lanes.h"
#include "tests/executor/comm/comm_body.h"
#include "tests/executor/comm/stand_in_ops.h"

namespace shardwright::testing {
namespace {

constexpr std::chrono::seconds kAmple{60};

struct StagedRank {
  explicit StagedRank(Communicator& host) : comm(make_staged_communicator(host, ops)) {}
  HostLanes lanes;
  StandInOps ops{lanes};
  std::unique_ptr<Communicator> comm;
};

void run_staged_ranks(int ranks, const std::function<void(StagedRank&)>& body) {
  run_ranks(ranks, kAmple, [&](Communicator& host) {
    StagedRank rank(host);
    body(rank);
  });
}

class StagedBody : public ::testing::TestWithParam<std::tuple<int, int64_t>> {};

// Whole, order of sums included, because the host communicator forms them.
TEST_P(StagedBody, DoesWhatEveryCommunicatorMust) {
  const auto [ranks, elements] = GetParam();
  EXPECT_NO_THROW(run_staged_ranks(
      ranks, [n = elements](StagedRank& rank) { check_communicator(*rank.comm, n); }));
}

INSTANTIATE_TEST_SUITE_P(RanksAndElements, StagedBody,
                         ::testing::Combine(::testing::Values(1, 2, 4),
                                            ::testing::Values<int64_t>(1, 7, 1003)));

// Data-parallel work in small: each rank sums its share of the terms, the ranks sum their sums.
// With whole numbers below 2^24 fp32 sums are exact, so any number of ranks gives one rank's bits.
TEST(StagedComm, TwoAndFourRanksGiveOneRanksBits) {
  constexpr int64_t kTerms = 64, kElements = 1000;
  const auto sums = [&](int ranks) {
    std::vector<float> result(kElements);
    run_staged_ranks(ranks, [&](StagedRank& rank) {
      std::vector<float> own(kElements, 0);
      for (int64_t t = rank.comm->rank(); t < kTerms; t += ranks) {
        for (int64_t i = 0; i < kElements; ++i) own[i] += static_cast<float>((t * 31 + i) % 1009);
      }
      std::vector<int> everyone;
      for (int r = 0; r < ranks; ++r) everyone.push_back(r);
      rank.comm->group(everyone).all_reduce(own.data(), kElements, ReduceOp::kSum);
      if (rank.comm->rank() == ranks - 1) result = own;
    });
    return result;
  };
  const std::vector<float> one = sums(1);
  EXPECT_EQ(sums(2), one);
  EXPECT_EQ(sums(4), one);
}

// Sums of bf16 are formed in fp32 and rounded once: 1 + 2^-8 + 2^-8 is 1 + 2^-7 exactly, while
// rounding after each term would give 1 (ties go to even, twice).
TEST(StagedComm, Bf16IsAddedInFp32) {
  run_staged_ranks(3, [](StagedRank& rank) {
    const float term = rank.comm->rank() == 0 ? 1.0F : std::ldexp(1.0F, -8);
    std::vector<uint16_t> data(7, narrow(term)), mine(2), all(6, narrow(term));
    Group& group = rank.comm->group({0, 1, 2});
    group.all_reduce(data.data(), 7, DataType::kBf16, ReduceOp::kSum);
    for (const uint16_t value : data) EXPECT_EQ(wide(value), 1.0F + std::ldexp(1.0F, -7));
    group.reduce_scatter(all.data(), mine.data(), 2, DataType::kBf16);
    for (const uint16_t value : mine) EXPECT_EQ(wide(value), 1.0F + std::ldexp(1.0F, -7));
  });
}

TEST(StagedComm, Bf16MovesUnchanged) {
  // Every bf16 there is, NaNs aside: those stay NaN.
  std::vector<uint16_t> every(65536);
  for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<uint16_t>(i);
  const auto expect_same = [&](const uint16_t* found) {
    for (size_t i = 0; i < every.size(); ++i) {
      if (std::isnan(wide(every[i]))) {
        ASSERT_TRUE(std::isnan(wide(found[i]))) << i;
      } else {
        ASSERT_EQ(found[i], every[i]);
      }
    }
  };
  run_staged_ranks(2, [&](StagedRank& rank) {
    const int64_t count = static_cast<int64_t>(every.size());
    std::vector<uint16_t> into(every.size(), 0), all(2 * every.size(), 0);
    const int own = rank.comm->rank(), other = 1 - own;
    rank.comm->send(every.data(), count, DataType::kBf16, other, 1);
    rank.comm->receive(into.data(), count, DataType::kBf16, other, 1);
    expect_same(into.data());
    rank.comm->group({0, 1}).all_gather(every.data(), all.data(), count, DataType::kBf16);
    expect_same(all.data());
    expect_same(all.data() + every.size());
    if (own == 1) into.assign(every.size(), 0);
    rank.comm->group({0, 1}).broadcast(into.data(), count, DataType::kBf16, 0);
    expect_same(into.data());
  });
}

TEST(StagedComm, HostMemoryIsUsedAgain) {
  run_staged_ranks(2, [](StagedRank& rank) {
    std::vector<float> data(1000, 1.0F);
    Group& group = rank.comm->group({0, 1});
    for (int64_t n = 1; n <= 1000; ++n) group.all_reduce(data.data(), n, ReduceOp::kSum);
    // Blocks of 1, 2, 4, ... 1024 floats at the most.
    EXPECT_LE(rank.ops.host_bytes(), 2048 * 4);
  });
}

TEST(StagedComm, SaysWhatItGoesOver) {
  run_staged_ranks(1, [](StagedRank& rank) {
    EXPECT_STREQ(rank.comm->backend(), "staged over threads");
    EXPECT_STREQ(rank.comm->host().backend(), "threads");
  });
}

// To nearest, ties to even (IEEE 754): neighbours of 1 are 2^-7 apart.
TEST(Staging, RoundsToNearestEven) {
  const auto rounded = [](float value) { return wide(narrow(value)); };
  const float step = std::ldexp(1.0F, -7);
  EXPECT_EQ(rounded(1.0F + step / 2), 1.0F);
  EXPECT_EQ(rounded(1.0F + 3 * step / 2), 1.0F + 2 * step);
  EXPECT_EQ(rounded(std::nextafter(1.0F + step / 2, 2.0F)), 1.0F + step);
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(rounded(-std::numeric_limits<float>::infinity()),
            -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(rounded(-0.0F)));
  EXPECT_TRUE(std::isnan(wide(narrow(std::bit_cast<float>(0x7f800001U)))));
}

}  // namespace
}  // namespace shardwright::testing
