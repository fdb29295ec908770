#include "tools/models_command.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "costmodel/hf_config.h"

namespace shardwright {
namespace {

constexpr int kExitBadInput = 2;

struct Part {
  const char* name;
  int64_t parameters;
};

std::vector<Part> parts_of(const ModelSpec& model) {
  const ParameterCount count = count_parameters(model);
  LayerParameters layers;
  for (int kind : model.layer_kind) {
    const LayerParameters one = count_layer(model, model.kinds[kind]);
    layers.attention += one.attention;
    layers.mlp += one.mlp;
    layers.router += one.router;
    layers.experts += one.experts;
    layers.norms += one.norms;
  }
  return {{"embedding", count.embedding},
          {"attention", layers.attention},
          {"mlp", layers.mlp},
          {"router", layers.router},
          {"experts", layers.experts},
          {"norms", layers.norms},
          {"final_norm", count.final_norm},
          {"head", count.head}};
}

// 8030261248 as "8,030,261,248".
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

void print_row(const char* name, int64_t parameters, int64_t total, std::ostream& out) {
  const double percent = 100.0 * static_cast<double>(parameters) / static_cast<double>(total);
  out << std::left << std::setw(12) << name << std::right << std::setw(22) << grouped(parameters)
      << std::setw(8) << std::fixed << std::setprecision(2) << percent << "%\n";
}

using Cells = std::vector<std::string>;

// What sets a kind of layer apart: a row for the table of kinds.
Cells describe_kind(const ModelSpec& model, size_t kind) {
  const LayerSpec& layer = model.kinds[kind];
  const AttentionSpec& attention = layer.attention;
  const MoeSpec& moe = layer.moe;
  const auto number = [](int64_t value) { return value > 0 ? std::to_string(value) : "-"; };
  const auto layers =
      std::count(model.layer_kind.begin(), model.layer_kind.end(), static_cast<int>(kind));
  return {std::to_string(layers),
          std::to_string(attention.heads),
          attention.mla() ? "latent" : std::to_string(attention.kv_heads),
          std::to_string(attention.head_dim),
          number(attention.window),
          std::to_string(moe.experts > 0 ? moe.ffn_hidden : layer.mlp.ffn_hidden),
          number(moe.experts),
          number(moe.top_k),
          number(moe.shared_ffn_hidden)};
}

void print_kinds(const ModelSpec& model, std::ostream& out) {
  std::vector<Cells> rows = {{"layers", "heads", "kv_heads", "head_dim", "window", "ffn_hidden",
                              "experts", "top_k", "shared_ffn"}};
  for (size_t kind = 0; kind < model.kinds.size(); ++kind) {
    rows.push_back(describe_kind(model, kind));
  }
  for (const Cells& row : rows) {
    out << std::setw(6) << row[0];
    for (size_t column = 1; column < row.size(); ++column) out << std::setw(11) << row[column];
    out << "\n";
  }
}

void print_table(const ModelSpec& model, std::ostream& out) {
  const int64_t total = count_parameters(model).total();
  const int64_t active = count_active_parameters(model);
  out << printable(model.name, 40) << " (" << model.model_type << "): " << model.layers()
      << " layers, hidden " << model.hidden << ", vocab " << model.vocab << "\n\n"
      << std::left << std::setw(12) << "part" << std::right << std::setw(22) << "parameters"
      << std::setw(9) << "share"
      << "\n";
  for (const Part& part : parts_of(model)) {
    if (part.parameters > 0) print_row(part.name, part.parameters, total, out);
  }
  print_row("total", total, total, out);
  if (active != total) print_row("active", active, total, out);
  if (model.tied_embeddings) out << "The head shares the embedding's weights.\n";
  if (model.mtp_layers > 0) {
    out << "Not counted: " << model.mtp_layers << " multi-token-prediction module(s).\n";
  }
  out << "\n";
  print_kinds(model, out);
}

Json to_json(const ModelSpec& model) {
  Json json;
  json["name"] = model.name;
  json["model_type"] = model.model_type;
  json["parameters_total"] = count_parameters(model).total();
  json["parameters_active"] = count_active_parameters(model);
  json["layers"] = model.layers();
  json["hidden"] = model.hidden;
  json["vocab"] = model.vocab;
  json["tied_embeddings"] = model.tied_embeddings;
  json["mtp_layers"] = model.mtp_layers;
  Json& parts = json["parts"] = Json::object();
  for (const Part& part : parts_of(model)) parts[part.name] = part.parameters;
  return json;
}

}  // namespace

int run_models_show(const std::string& path, bool json, std::ostream& out, std::ostream& err) {
  const Result<ModelSpec> model = load_model(path, default_profiles_dir());
  if (!model.ok()) {
    err << printable(model.error().line(), 4000) << "\n";
    return kExitBadInput;
  }
  if (json) {
    out << to_json(*model).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    std::ostringstream table;  // keeps the formatting flags away from the caller's stream
    print_table(*model, table);
    out << table.str();
  }
  return 0;
}

}  // namespace shardwright
