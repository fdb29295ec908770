// What a rank's memory passes over after the last backward: norm of the gradients, update, and
// setting the gradients back to zero.
#pragma once

#include "costmodel/memory.h"
#include "costmodel/work.h"

namespace shardwright {

struct ClosingShape {
  int64_t gradients = 0;  // elements accumulated on this rank
  int64_t updated = 0;    // elements whose optimizer state lives here: fewer when it is sharded
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  DataType weight_type = DataType::kFp32;  // as the layers use them
  DataType gradient_type = DataType::kFp32;
  DataType moment_type = DataType::kFp32;
};

PassWork square_sum_work(const ClosingShape& shape);
// Reads the gradient; reads and writes the fp32 weight and, for AdamW, both moments; writes the
// 16-bit weight where there is one.
PassWork update_work(const ClosingShape& shape);
PassWork zero_work(const ClosingShape& shape);

}  // namespace shardwright
