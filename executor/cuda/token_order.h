// The tokens of a microbatch in the order of their table rows: what a deterministic gradient of an
// embedding table needs, because every row must be summed in one fixed order.
#pragma once

#include "executor/cuda/vectors.h"

namespace shardwright {

// Sorted by row, and by place in the microbatch within a row.
struct TokenOrder {
  const int32_t* rows;    // [T] of the local table; `num_rows` for tokens of other ranks: the last
  const int32_t* places;  // [T] t of each
};

// A stable radix sort, 9 bits at a time: two passes of two kernels for up to 262143 rows, whatever
// the tokens are. `scratch` holds token_order_bytes(T) and carries the result.
Bytes token_order_bytes(int64_t T);
TokenOrder order_tokens(Device& device, Stream stream, const int32_t* tokens, int64_t T,
                        int64_t first_row, int64_t num_rows, void* scratch);

}  // namespace shardwright
