// What a Program says about a chunk: its place, its shape and its bytes on each of its ranks.
#pragma once

#include "costmodel/model_spec.h"
#include "planner/plan.h"
#include "planner/program/instruction.h"

namespace shardwright {

StateInfo state_info(const Plan& plan);

// Of all chunks, in model order. A chunk's scratch is that of its whole stage, whose chunks share
// it.
std::vector<ChunkInfo> chunk_infos(const ModelSpec& model, const Plan& plan);

}  // namespace shardwright
