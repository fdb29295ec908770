// Reads Hugging Face's config.json into a ModelSpec.
//
// Every family (model_type) has a reader that knows its key names and its class's defaults: a key
// that Hugging Face lets a config leave out may be absent here too. Keys that cost and training do
// not need are ignored. Shapes that are missing, of the wrong type, out of range or contradictory
// are errors.
#pragma once

#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/model_spec.h"

namespace shardwright {

// `path` is a config.json, a folder that holds one, or, when neither exists, the bare name of a
// model shipped as `profiles_dir`/models/NAME.json. An empty `profiles_dir` ships none.
Result<ModelSpec> load_model(const std::string& path, const std::string& profiles_dir = "");

// The file that load_model reads for `path`; empty when there is none.
std::string find_model_file(const std::string& path, const std::string& profiles_dir);

// `file` names the text in errors, and (without folder and ".json") the model.
Result<ModelSpec> read_hf_config(const Json& json, const std::string& file);

std::vector<std::string> known_model_types();                              // sorted
std::vector<std::string> shipped_models(const std::string& profiles_dir);  // bare names, sorted

}  // namespace shardwright
