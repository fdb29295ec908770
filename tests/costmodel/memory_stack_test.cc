#include "costmodel/memory_stack.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "costmodel/stack.h"

namespace shardwright {
namespace {

Json memory_json() {
  return {{"schema", "shardwright.memory_stack/1"}, {"name", "test"}, {"source", "none"}};
}

TEST(MemoryStack, GradientsTravelInSixteenBitsOrInThirtyTwo) {
  Json json = memory_json();
  EXPECT_EQ(reduced_type(*read_memory_stack(json, "f"), DataType::kBf16), DataType::kFp32);
  json["reduced_bf16"] = 2;
  const Result<MemoryStack> stack = read_memory_stack(json, "f");
  ASSERT_TRUE(stack) << stack.error().line();
  // In runs with fp8 products weights and gradients are bf16.
  EXPECT_EQ(reduced_type(*stack, DataType::kBf16), DataType::kBf16);
  EXPECT_EQ(reduced_type(*stack, DataType::kFp8), DataType::kBf16);
  EXPECT_EQ(reduced_type(*stack, DataType::kFp16), DataType::kFp32);
  EXPECT_EQ(reduced_type(*stack, DataType::kFp32), DataType::kFp32);
}

TEST(MemoryStack, RefusesGradientsOfAnotherWidth) {
  for (const Json& value : {Json(3), Json(1), Json(8), Json("2")}) {
    Json json = memory_json();
    json["reduced_bf16"] = value;
    const Result<MemoryStack> stack = read_memory_stack(json, "f");
    ASSERT_FALSE(stack) << value.dump();
    EXPECT_NE(stack.error().line().find("reduced_bf16"), std::string::npos);
  }
}

Json stack_json(const Json& pieces) {
  return {{"schema", "shardwright.stack/1"},
          {"name", "test"},
          {"kernels", {{"sharded_pieces", pieces}}}};
}

TEST(Stack, LayersAreSharedOutInWholePieces) {
  const Result<Stack> stack = read_stack(stack_json(12), "f", FactorTable());
  ASSERT_TRUE(stack) << stack.error().line();
  EXPECT_EQ(stack->kernels.sharded_pieces, 12);
  const Json again = to_json(*stack);
  EXPECT_EQ(read_stack(again, "f", FactorTable())->kernels, stack->kernels);
  for (const Json& value : {Json(0), Json(-1), Json(1.5), Json(1001), Json("12")}) {
    const Result<Stack> refused = read_stack(stack_json(value), "f", FactorTable());
    ASSERT_FALSE(refused) << value.dump();
    EXPECT_NE(refused.error().line().find("sharded_pieces"), std::string::npos);
  }
}

}  // namespace
}  // namespace shardwright
