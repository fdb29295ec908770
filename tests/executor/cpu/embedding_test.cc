#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

constexpr int64_t kFirstRow = 10, kRows = 12;  // of a vocabulary of 30
constexpr int64_t kTokens = 21, kSeq = 7, kCols = 33;

bool local(int32_t token) { return token >= kFirstRow && token < kFirstRow + kRows; }

TEST_F(CpuOpsTest, EmbeddingOfForeignTokensIsZero) {
  const std::vector<int32_t> tokens = random_tokens(kTokens, 30);
  const Floats table = random(kRows * kCols), positions = random(kSeq * kCols);
  for (const bool with_positions : {false, true}) {
    Doubles expected;
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < kCols; ++i) {
        const double word = local(tokens[t]) ? table[(tokens[t] - kFirstRow) * kCols + i] : 0;
        expected.push_back(word + (with_positions ? positions[t % kSeq * kCols + i] : 0));
      }
    }
    Floats x = poisoned(kTokens * kCols);
    ops_->embedding(tokens.data(), table.data(), kFirstRow, kRows,
                    with_positions ? positions.data() : nullptr, x.data(), kTokens, kSeq, kCols);
    expect_close(x, expected);
  }
}

TEST_F(CpuOpsTest, EmbeddingGradientAccumulatesRepeatedTokens) {
  const std::vector<int32_t> tokens = random_tokens(kTokens, 30);
  const Floats dx = random(kTokens * kCols);
  Floats dtable = random(kRows * kCols), dpositions = random(kSeq * kCols);
  Doubles table_expected = to_doubles(dtable), positions_expected = to_doubles(dpositions);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t i = 0; i < kCols; ++i) {
      if (local(tokens[t])) {
        table_expected[(tokens[t] - kFirstRow) * kCols + i] += dx[t * kCols + i];
      }
      positions_expected[t % kSeq * kCols + i] += dx[t * kCols + i];
    }
  }
  ops_->embedding_grad(tokens.data(), dx.data(), dtable.data(), kFirstRow, kRows, dpositions.data(),
                       kTokens, kSeq, kCols);
  expect_close(dtable, table_expected);
  expect_close(dpositions, positions_expected);
  ops_->embedding_grad(tokens.data(), dx.data(), dtable.data(), kFirstRow, kRows, nullptr, kTokens,
                       kSeq, kCols);
}

}  // namespace
}  // namespace shardwright::testing
