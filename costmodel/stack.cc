#include "costmodel/stack.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

constexpr const char* kSchema = "shardwright.stack/1";

// Calls each(key, fact) for every fact: one list for reading and for writing.
template <typename KernelsType, typename Each>
void for_each_fact(KernelsType& kernels, Each&& each) {
  each("flash_attention", kernels.flash_attention);
  each("main_gradients", kernels.main_gradients);
  each("whole_recompute", kernels.whole_recompute);
  each("fused_loss", kernels.fused_loss);
  each("node_dispatch", kernels.node_dispatch);
  each("scattered_messages", kernels.scattered_messages);
  each("dropout", kernels.dropout);
  each("padded_vocabulary", kernels.padded_vocabulary);
  each("flash_2", kernels.flash_2);
  each("skips_windows", kernels.skips_windows);
  each("expert_overlap", kernels.expert_overlap);
  each("broadcast_shards", kernels.broadcast_shards);
}

void merge(const FactorTable& from, FactorTable* into) {
  into->usual = from.usual;
  into->spread = from.spread;
  into->within = from.within;
  for (auto values : {&FactorTable::of, &FactorTable::uncertainty}) {
    for (size_t kind = 0; kind < from.of.size(); ++kind) {
      for (const auto& [owner, own] : (from.*values)[kind]) {
        for (const auto& [factor, value] : own) (into->*values)[kind][owner][factor] = value;
      }
    }
  }
}

}  // namespace

Result<Stack> read_stack(const Json& json, const std::string& file, FactorTable factors) {
  Stack stack;
  Fields top(json, file);
  if (top.text("schema") != kSchema && !top.error()) top.fail("schema", "another one", kSchema);
  stack.name = top.text("name");
  stack.source = top.text_or("source", "");
  stack.memory = top.text_or("memory", "");
  stack.framework = top.text_or("framework", "");
  Fields kernels(top.object("kernels"), file, "kernels.");
  for_each_fact(stack.kernels,
                [&](const char* key, bool& fact) { fact = kernels.boolean_or(key, fact); });
  stack.kernels.host_share = kernels.number_or("host_share", 1, 0, 1);
  const int64_t pieces = kernels.integer_or("sharded_pieces", 1, 1, 1000);
  stack.kernels.sharded_pieces = static_cast<double>(pieces);
  stack.factors = std::move(factors);
  const bool own = top.has("factors");
  const Json& figures = own ? top.object("factors") : json;
  if (auto error = top.finish()) return *error;
  if (auto error = kernels.finish()) return *error;
  if (!own) return stack;
  const Result<FactorTable> read = read_factors(figures, file);
  if (!read.ok()) return read.error();
  merge(*read, &stack.factors);
  return stack;
}

Json to_json(const Stack& stack) {
  Json json = {{"schema", kSchema}, {"name", stack.name}, {"source", stack.source}};
  if (!stack.memory.empty()) json["memory"] = stack.memory;
  if (!stack.framework.empty()) json["framework"] = stack.framework;
  for_each_fact(stack.kernels,
                [&](const char* key, const bool& fact) { json["kernels"][key] = fact; });
  json["kernels"]["host_share"] = stack.kernels.host_share;
  json["kernels"]["sharded_pieces"] = static_cast<int64_t>(stack.kernels.sharded_pieces);
  json["factors"] = to_json(stack.factors);
  return json;
}

Result<FactorTable> load_factors(const std::string& profiles_dir) {
  const std::string path = profiles_dir + "/factors.json";
  const Result<Json> json = read_json_file(path);
  if (!json.ok()) return json.error();
  Result<FactorTable> table = read_factors(*json, path);
  if (!table.ok()) return table.error();
  const Result<FactorTable> families = load_families(profiles_dir);
  if (!families.ok()) return families.error();
  table->family = families->family;
  return table;
}

Result<FactorTable> load_families(const std::string& profiles_dir) {
  const std::string path = profiles_dir + "/families.json";
  const Result<Json> json = read_json_file(path);
  if (!json.ok()) return json.error();
  FactorTable table;
  if (auto error = read_families(*json, path, &table)) return *error;
  return table;
}

Result<Stack> load_stack(const std::string& text, const std::string& profiles_dir) {
  const std::string shipped = profiles_dir + "/stacks/" + text + ".json";
  const bool named = text.find('/') == std::string::npos && std::filesystem::exists(shipped);
  const std::string path = named ? shipped : text;
  const Result<Json> json = read_json_file(path);
  if (!json.ok()) return json.error();
  Result<FactorTable> factors = load_factors(profiles_dir);
  if (!factors.ok()) return factors.error();
  return read_stack(*json, path, *std::move(factors));
}

std::string interconnect_of(const ClusterSpec& cluster) {
  if (cluster.levels.size() < 2) return "";
  const LinkLevel& outer = cluster.levels.back();
  char rate[32];
  std::snprintf(rate, sizeof rate, "-%g", outer.bytes_per_s / 1e9);
  return outer.name + rate;
}

Factors factors_for(const Stack& stack, const ClusterSpec& cluster, int64_t rank) {
  return stack.factors.resolve(cluster.device_of(rank).name, interconnect_of(cluster), stack.name);
}

}  // namespace shardwright
