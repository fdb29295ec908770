#include "costmodel/hf_config.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/hf_families.h"
#include "costmodel/layer_list.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

// Far above any real model; memory in bytes of all its states still fits 64 bits.
constexpr double kMaxParameters = 1e15;

const HfFamily* find_family(const std::string& model_type) {
  for (const auto* families : {&dense_families(), &moe_families()}) {
    for (const HfFamily& family : *families) {
      if (family.model_type == model_type) return &family;
    }
  }
  return nullptr;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string name_of_model(const std::string& file) {
  const fs::path path(file);
  if (path.filename() != "config.json") {
    return path.extension() == ".json" ? path.stem().string() : path.filename().string();
  }
  const fs::path folder = fs::absolute(path).lexically_normal().parent_path();
  return folder.has_filename() ? folder.filename().string() : "config";
}

// In floating point: whole counts are formed only once they are known to fit.
double rough_parameters(const ModelSpec& model) {
  double count = 2.0 * model.vocab * model.hidden + 1.0 * model.max_positions * model.hidden;
  for (int kind : model.layer_kind) {
    count += static_cast<double>(count_layer(model, model.kinds[kind]).total());
  }
  return count;
}

void check_size(const ModelSpec& model, Fields& fields) {
  const double count = rough_parameters(model);
  if (count > kMaxParameters) {
    fields.fail("", quote(Json(count)) + " parameters", "at most 1e15 parameters");
  }
}

// RoPE turns pairs of dimensions.
void check_rope(const ModelSpec& model, Fields& fields) {
  if (model.position != Position::kRope) return;
  for (const LayerSpec& kind : model.kinds) {
    const AttentionSpec& attention = kind.attention;
    const auto rotary = attention.mla()
                            ? attention.qk_rope_head_dim
                            : static_cast<int64_t>(attention.head_dim * model.rotary_fraction);
    if (rotary > 0 && rotary % 2 == 0) continue;
    fields.fail(attention.mla() ? "qk_rope_head_dim" : "head_dim",
                std::to_string(rotary) + " rotary dimensions", "an even number of them");
  }
}

Error no_such_model(const std::string& path, const std::string& profiles_dir) {
  std::string expected = "a config.json or a folder that holds one";
  const std::vector<std::string> shipped = shipped_models(profiles_dir);
  if (!shipped.empty()) expected += ", or one of " + joined(shipped);
  return {path.empty() ? "model" : printable(path, 1000), "", "no such file", expected};
}

}  // namespace

std::string find_model_file(const std::string& path, const std::string& profiles_dir) {
  std::error_code ignored;  // what cannot be looked at does not exist for us
  if (fs::is_directory(path, ignored)) return (fs::path(path) / "config.json").string();
  if (fs::exists(path, ignored)) return path;
  if (profiles_dir.empty() || path.empty() || path.find('/') != std::string::npos) return "";
  const fs::path shipped = fs::path(profiles_dir) / "models" / (path + ".json");
  return fs::exists(shipped, ignored) ? shipped.string() : "";
}

std::vector<std::string> known_model_types() {
  std::vector<std::string> names;
  for (const auto* families : {&dense_families(), &moe_families()}) {
    for (const HfFamily& family : *families) names.push_back(family.model_type);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> shipped_models(const std::string& profiles_dir) {
  std::vector<std::string> names;
  if (profiles_dir.empty()) return names;
  std::error_code error;
  fs::directory_iterator entry(fs::path(profiles_dir) / "models", error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() == ".json") names.push_back(entry->path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<ModelSpec> read_hf_config(const Json& json, const std::string& file) {
  HfConfig config(json, file);
  ModelSpec model;
  model.name = name_of_model(file);
  model.model_type = config.fields.text("model_type");
  if (config.fields.error()) return *config.fields.error();
  const HfFamily* family = find_family(model.model_type);
  if (family == nullptr) {
    return Error{file, "model_type", quote(json["model_type"]),
                 "one of " + joined(known_model_types())};
  }
  family->read(config, &model);
  if (!config.fields.error()) {
    check_rope(model, config.fields);
    check_size(model, config.fields);
  }
  if (config.fields.error()) return *config.fields.error();
  return model;
}

Result<ModelSpec> load_model(const std::string& path, const std::string& profiles_dir) {
  const std::string file = find_model_file(path, profiles_dir);
  if (file.empty()) return no_such_model(path, profiles_dir);
  const Result<Json> json = read_json_file(file);
  if (!json.ok()) return json.error();
  if (is_layer_list(*json)) return read_layer_list(*json, file);
  return read_hf_config(*json, file);
}

}  // namespace shardwright
