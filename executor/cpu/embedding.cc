// Token and position embeddings of one vocabulary shard.
#include <cstring>

#include "executor/cpu/cpu_ops_impl.h"

namespace shardwright {

void CpuOps::embedding(const int32_t* tokens, const float* table, int64_t first_row, int64_t rows,
                       const float* positions, float* x, int64_t T, int64_t seq, int64_t cols) {
  const auto row_bytes = static_cast<size_t>(cols) * sizeof(float);
  for (int64_t t = 0; t < T; ++t) {
    const int64_t row = tokens[t] - first_row;
    float* to = x + t * cols;
    if (row >= 0 && row < rows) {
      std::memcpy(to, table + row * cols, row_bytes);
    } else {
      std::memset(to, 0, row_bytes);
    }
    if (positions != nullptr) add_into(to, positions + (t % seq) * cols, cols);
  }
}

void CpuOps::embedding_grad(const int32_t* tokens, const float* dx, float* dtable,
                            int64_t first_row, int64_t rows, float* dpositions, int64_t T,
                            int64_t seq, int64_t cols) {
  for (int64_t t = 0; t < T; ++t) {
    const int64_t row = tokens[t] - first_row;
    if (row >= 0 && row < rows) add_into(dtable + row * cols, dx + t * cols, cols);
    if (dpositions != nullptr) add_into(dpositions + (t % seq) * cols, dx + t * cols, cols);
  }
}

}  // namespace shardwright
