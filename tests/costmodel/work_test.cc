#include "costmodel/work.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace shardwright {
namespace {

TEST(Work, GemmCountsProductsAndTraffic) {
  GemmWork work{GemmLayout::kForward, 2, 3, 5, 7, DataType::kBf16};
  EXPECT_EQ(work.flops(), 2.0 * 2 * 3 * 5 * 7);
  EXPECT_EQ(work.bytes(), 7 * 2 * (2 * 5 + 3 * 5 + 2 * 3));
}

TEST(Work, CausalPairsAreTheLowerTriangle) {
  AttentionWork work;
  work.seq = 4;
  EXPECT_EQ(work.pairs(), 1 + 2 + 3 + 4);
  work.window = 2;  // query i sees itself and at most one before
  EXPECT_EQ(work.pairs(), 1 + 2 + 2 + 2);
  work.window = 1;
  EXPECT_EQ(work.pairs(), 4);
  work.window = 4;
  EXPECT_EQ(work.pairs(), 10);
  work.window = 9;
  EXPECT_EQ(work.pairs(), 10);
}

TEST(Work, WindowedPairsEqualTheirSum) {
  for (int64_t seq : {1, 7, 64}) {
    for (int64_t window : {1, 2, 5, 63, 64, 65}) {
      double sum = 0;
      for (int64_t i = 0; i < seq; ++i) sum += static_cast<double>(std::min(i + 1, window));
      AttentionWork work;
      work.seq = seq;
      work.window = window;
      EXPECT_EQ(work.pairs(), sum) << seq << " window " << window;
    }
  }
}

TEST(Work, AttentionFlops) {
  AttentionWork work{false, 2, 4, 6, 3, 16, 16, 0, DataType::kBf16};
  EXPECT_EQ(work.flops(), 2.0 * 2 * 6 * 10 * (16 + 16));
  const double forward = work.flops();
  work.backward = true;
  EXPECT_EQ(work.flops(), 2.5 * forward);
  work.v_head_dim = 8;  // three products over head_dim, two over v_head_dim
  EXPECT_EQ(work.flops(), 2.0 * 2 * 6 * 10 * (3 * 16 + 2 * 8));
}

TEST(Work, AttentionBytes) {
  AttentionWork work{false, 2, 4, 6, 3, 16, 8, 0, DataType::kBf16};
  const Bytes tokens = 2 * 4;
  const Bytes q = tokens * 6 * 16, k = tokens * 3 * 16, v = tokens * 3 * 8, o = tokens * 6 * 8;
  EXPECT_EQ(work.bytes(), 2 * (q + k + v + o));
  work.backward = true;
  EXPECT_EQ(work.bytes(), 4 * (q + k + v + o));
}

TEST(Work, NamesParseBack) {
  for (int i = 0; i < static_cast<int>(PassKind::kCount); ++i) {
    PassKind kind = PassKind::kCount;
    ASSERT_TRUE(parse_pass_kind(name_of(static_cast<PassKind>(i)), &kind)) << i;
    EXPECT_EQ(static_cast<int>(kind), i);
  }
  for (int i = 0; i <= static_cast<int>(CollectiveKind::kReceive); ++i) {
    CollectiveKind kind = CollectiveKind::kAllReduce;
    ASSERT_TRUE(parse_collective_kind(name_of(static_cast<CollectiveKind>(i)), &kind)) << i;
    EXPECT_EQ(static_cast<int>(kind), i);
  }
  PassKind pass;
  CollectiveKind collective;
  EXPECT_FALSE(parse_pass_kind("", &pass));
  EXPECT_FALSE(parse_pass_kind("Add", &pass));
  EXPECT_FALSE(parse_collective_kind("alltoall", &collective));
}

TEST(Work, NamesThatTablesUse) {
  EXPECT_STREQ(name_of(PassKind::kEmbedding), "embedding");
  EXPECT_STREQ(name_of(PassKind::kLayerNormGrad), "layer_norm_grad");
  EXPECT_STREQ(name_of(PassKind::kCopy), "copy");
  EXPECT_STREQ(name_of(GemmLayout::kWeightGrad), "weight_grad");
  EXPECT_STREQ(name_of(CollectiveKind::kAllToAll), "all_to_all");
}

TEST(Work, Describe) {
  EXPECT_EQ(describe(GemmWork{GemmLayout::kForward, 512, 1152, 384}), "gemm forward 512x1152x384");
  EXPECT_EQ(describe(GemmWork{GemmLayout::kInputGrad, 1, 2, 3, 8}), "gemm input_grad 1x2x3 x 8");
  AttentionWork attention{true, 2, 512, 8, 2, 64, 64, 0};
  EXPECT_EQ(describe(attention), "attention backward 2x512, heads 8/2 of 64");
  attention.v_head_dim = 32;
  attention.window = 128;
  EXPECT_EQ(describe(attention), "attention backward 2x512, heads 8/2 of 64/32, window 128");
  EXPECT_EQ(describe(PassWork{PassKind::kRmsNorm, 512, 384, 0}), "rms_norm 512x384");
  EXPECT_EQ(describe(PassWork{PassKind::kCopy, 512, 384, 0, 8}), "copy 512x384 x 8");
  EXPECT_EQ(describe(CollectiveWork{CollectiveKind::kAllReduce, Axis::kTp, 4096}),
            "all_reduce tp 4096 bytes");
}

}  // namespace
}  // namespace shardwright
