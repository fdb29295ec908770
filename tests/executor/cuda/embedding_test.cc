#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

struct Case {
  const char* what;
  Tokens tokens;
  int64_t first_row, rows, seq, cols, offset;
};

class EmbeddingKernelTest : public KernelTest {
 protected:
  // Odd and wide rows; one token; all the same token (padding) over many ranges and several tiles;
  // a mixture of one frequent token with rare ones; foreign tokens on both sides and only those;
  // more rows than one digit of the sort holds, and as many as fill it.
  std::vector<Case> cases() {
    Tokens frequent = random_tokens(700, 300);
    for (size_t i = 0; i < frequent.size(); ++i) {
      if (i % 3 != 0) frequent[i] = 42;
    }
    return {{"one", {5}, 0, 10, 1, 9, 0},
            {"odd", random_tokens(21, 30), 10, 12, 7, 33, 0},
            {"same", Tokens(1100, 3), 0, 8, 1100, 8, 0},
            {"frequent", frequent, 0, 300, 100, 40, 0},
            {"not aligned", random_tokens(40, 20), 0, 20, 8, 16, 1},
            {"foreign", random_tokens(600, 100), 200, 50, 600, 8, 0},
            {"two tiles", random_tokens(1030, 5), 1, 3, 515, 16, 0},
            {"two digits", random_tokens(300, 40000), 100, 39000, 100, 8, 0},
            {"full digit", random_tokens(900, 512), 0, 511, 300, 8, 0},
            {"wide", random_tokens(24, 6), 0, 6, 24, 520, 0}};
  }
};

TEST_P(EmbeddingKernelTest, Forward) {
  for (const Case& c : cases()) {
    const auto T = static_cast<int64_t>(c.tokens.size());
    const Floats table = random(c.rows * c.cols), positions = random(c.seq * c.cols);
    const DeviceArray table_d = put(table, c.offset), positions_d = put(positions);
    const int32_t* tokens_d = put_tokens(c.tokens);
    for (const bool with_positions : {false, true}) {
      Floats x = poisoned(T * c.cols);
      cpu_->embedding(c.tokens.data(), table.data(), c.first_row, c.rows,
                      with_positions ? positions.data() : nullptr, x.data(), T, c.seq, c.cols);
      const DeviceArray x_d = put(poisoned(T * c.cols), c.offset);
      cuda_->embedding(tokens_d, table_d.get(), c.first_row, c.rows,
                       with_positions ? positions_d.get() : nullptr, x_d.get(), T, c.seq, c.cols);
      if (with_positions) {
        expect_near(x_d.read(), x, type(), c.what);
      } else {
        EXPECT_EQ(x_d.read(), x) << c.what;
      }
    }
  }
}

// Whole numbers: the sums are exact, so every token must have been added once and to its own row.
TEST_P(EmbeddingKernelTest, GradientIsExactForWholeNumbers) {
  for (const Case& c : cases()) {
    const auto T = static_cast<int64_t>(c.tokens.size());
    Floats dx(T * c.cols), dtable(c.rows * c.cols), dpositions(c.seq * c.cols);
    for (int64_t i = 0; i < T * c.cols; ++i) {
      dx[i] = static_cast<float>((i * 7 + i / c.cols * 3) % 31 - 15);
    }
    for (size_t i = 0; i < dtable.size(); ++i) dtable[i] = static_cast<float>(i % 7);
    for (size_t i = 0; i < dpositions.size(); ++i) dpositions[i] = static_cast<float>(i % 11);
    const DeviceArray dx_d = put(dx, c.offset), dtable_d = put_fp32(dtable);
    const DeviceArray dpositions_d = put_fp32(dpositions);
    const int32_t* tokens_d = put_tokens(c.tokens);
    cpu_->embedding_grad(c.tokens.data(), dx.data(), dtable.data(), c.first_row, c.rows,
                         dpositions.data(), T, c.seq, c.cols);
    cuda_->embedding_grad(tokens_d, dx_d.get(), dtable_d.floats(), c.first_row, c.rows,
                          dpositions_d.floats(), T, c.seq, c.cols);
    EXPECT_EQ(dtable_d.read(), dtable) << c.what;
    EXPECT_EQ(dpositions_d.read(), dpositions) << c.what;

    cpu_->embedding_grad(c.tokens.data(), dx.data(), dtable.data(), c.first_row, c.rows, nullptr, T,
                         c.seq, c.cols);
    cuda_->embedding_grad(tokens_d, dx_d.get(), dtable_d.floats(), c.first_row, c.rows, nullptr, T,
                          c.seq, c.cols);
    EXPECT_EQ(dtable_d.read(), dtable) << c.what << ", a second time without positions";
  }
}

TEST_P(EmbeddingKernelTest, SameBitsInEveryThreadOrder) {
  const int64_t T = 600, rows = 20, cols = 24;
  const Tokens tokens = random_tokens(T, rows);
  const Floats dx = random(T * cols);
  const int32_t* tokens_d = put_tokens(tokens);
  const DeviceArray dx_d = put(dx), forward = put_fp32(Floats(rows * cols));
  const DeviceArray reverse = put_fp32(Floats(rows * cols));
  cuda_->embedding_grad(tokens_d, dx_d.get(), forward.floats(), 0, rows, nullptr, T, T, cols);
  device_.set_order(emulation::ThreadOrder::kReverse);
  cuda_->embedding_grad(tokens_d, dx_d.get(), reverse.floats(), 0, rows, nullptr, T, T, cols);
  EXPECT_EQ(forward.read(), reverse.read());
  Floats expected(rows * cols);
  cpu_->embedding_grad(tokens.data(), dx.data(), expected.data(), 0, rows, nullptr, T, T, cols);
  expect_near(forward.read(), expected, DataType::kFp32, "dtable");
}

TEST_P(EmbeddingKernelTest, NoTokensAreNoWork) {
  device_.forget_calls();
  cuda_->embedding(nullptr, nullptr, 0, 4, nullptr, nullptr, 0, 8, 8);
  cuda_->embedding_grad(nullptr, nullptr, nullptr, 0, 4, nullptr, 0, 8, 8);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, EmbeddingKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
