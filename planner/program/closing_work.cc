#include "planner/program/closing_work.h"

namespace shardwright {

PassWork square_sum_work(const ClosingShape& shape) {
  return {PassKind::kSquareSum, 1, shape.updated, shape.updated * size_of(shape.gradient_type)};
}

PassWork update_work(const ClosingShape& shape) {
  constexpr Bytes kWeight = 2 * 4;
  const bool adamw = shape.optimizer == OptimizerKind::kAdamW;
  const Bytes moments = adamw ? 4 * size_of(shape.moment_type) : 0;
  const Bytes copy = shape.weight_type == DataType::kFp32 ? 0 : size_of(shape.weight_type);
  const Bytes each = size_of(shape.gradient_type) + kWeight + moments + copy;
  return {adamw ? PassKind::kAdamW : PassKind::kSgd, 1, shape.updated, shape.updated * each};
}

PassWork zero_work(const ClosingShape& shape) {
  return {PassKind::kFill, 1, shape.gradients, shape.gradients * size_of(shape.gradient_type)};
}

}  // namespace shardwright
