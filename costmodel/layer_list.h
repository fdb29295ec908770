// Reader of models that are no transformers: layers given by their operations, JSON of schema
// "shardwright.model/1".
#pragma once

#include "costmodel/json.h"
#include "costmodel/model_spec.h"

namespace shardwright {

bool is_layer_list(const Json& json);
// {"schema": ..., "name", "boundary": elements of a sample between layers, "classes",
//  "kinds": {"block": [{"op": "gemm", "name", "rows", "out", "in"}, {"op": "pass", "name", "rows",
//  "out", "touches", "backward_touches"}, {"op": "lookup", "name", "rows", "out", "in"}]},
//  "layers": ["block", ...]}
Result<ModelSpec> read_layer_list(const Json& json, const std::string& file);

}  // namespace shardwright
