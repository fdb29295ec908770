// How torchtitan's options deal layers out to the stages of a pipeline
// (distributed/pipeline_parallel.py at the commit of profiles/frameworks/torchtitan.json):
// embedding and head count as some layers on the first and the last stage; the sum is dealt out
// evenly, the remainder to the first stages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/plan.h"

namespace shardwright {

struct TitanStages {
  int64_t first_less = 1, last_less = 1;  // pipeline_parallel_{first,last}_stage_less_layers
  int64_t layers_per_stage = 0;           // pipeline_parallel_layers_per_stage; 0 = not given
};

// Layers of `stages` stages; empty when torchtitan refuses.
std::vector<int64_t> titan_stage_layers(int64_t layers, int64_t stages, const TitanStages& options);
// Stages that follow from layers_per_stage.
int64_t titan_num_stages(int64_t layers, const TitanStages& options);
// Options that give the plan's stage_layers, the defaults where they do.
std::optional<TitanStages> find_stage_options(const Plan& plan);
// Modules of every chunk: "tok_embeddings,layers.0,layers.1", "layers.2,norm,lm_head".
std::vector<std::string> titan_modules(const Plan& plan);

}  // namespace shardwright
