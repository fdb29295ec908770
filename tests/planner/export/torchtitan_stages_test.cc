#include "planner/export/torchtitan_stages.h"

#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

using Layers = std::vector<int64_t>;

// By hand, after the rule in torchtitan/distributed/pipeline_parallel.py: L + first + last layers
// dealt out evenly, the remainder in front; the first and the last stage have so many fewer.
TEST(TitanStages, AreDealtOutByHand) {
  EXPECT_EQ(titan_stage_layers(32, 4, {}), (Layers{8, 9, 8, 7}));  // 34 = 9 9 8 8
  EXPECT_EQ(titan_stage_layers(30, 4, {}), (Layers{7, 8, 8, 7}));  // 32 = 8 8 8 8
  EXPECT_EQ(titan_stage_layers(32, 4, {0, 0, 0}), (Layers{8, 8, 8, 8}));
  EXPECT_EQ(titan_stage_layers(3, 2, {2, 2, 0}), (Layers{2, 1}));  // 7 = 4 3
  EXPECT_EQ(titan_stage_layers(32, 1, {}), (Layers{32}));
  // 8 = 2 2 2 2: the ends have embedding and head alone.
  EXPECT_EQ(titan_stage_layers(4, 4, {2, 2, 0}), (Layers{0, 2, 2, 0}));
  EXPECT_TRUE(titan_stage_layers(4, 4, {3, 1, 0}).empty());  // refused: 3 of 2
  EXPECT_EQ(titan_num_stages(32, {1, 1, 5}), 7);             // 34 / 5 = 6.8
}

TEST(TitanStages, OptionsAreFoundOrModulesAreListed) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 2, 1, 4);
  for (const Layers& layers : {Layers{8, 8, 8, 8}, Layers{8, 9, 8, 7}, Layers{7, 9, 9, 7}}) {
    plan.stage_layers = layers;
    const auto options = find_stage_options(plan);
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(titan_stage_layers(32, 4, *options), layers);
  }
  plan.stage_layers = {9, 7, 9, 7};
  EXPECT_FALSE(find_stage_options(plan).has_value());
}

TEST(TitanStages, ModulesNameEveryLayerOnce) {
  Plan plan;
  plan.stage_layers = {1, 2, 0};
  EXPECT_EQ(titan_modules(plan), (std::vector<std::string>{"tok_embeddings,layers.0",
                                                           "layers.1,layers.2", "norm,lm_head"}));
}

}  // namespace
}  // namespace shardwright
