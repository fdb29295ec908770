// Models that torchtitan's registry has a configuration of, found by their shape.
#pragma once

#include "costmodel/model_spec.h"

namespace shardwright {

struct TitanModel {
  const char* module;  // --module
  const char* config;  // --config
  int64_t layers, hidden, vocab;
};
const TitanModel* find_titan_model(const ModelSpec& model);  // nullptr when there is none

}  // namespace shardwright
