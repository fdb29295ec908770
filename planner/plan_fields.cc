#include "planner/plan_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"

namespace shardwright {
namespace {

constexpr int64_t kMaxLayers = int64_t{1} << 20;
constexpr int64_t kMaxHeld = int64_t{1} << 30;  // chunk-microbatches
constexpr int64_t kMaxUnit = int64_t{1} << 40;  // ns, eighteen minutes: sums stay representable
constexpr int64_t kMaxBatch = int64_t{1} << 30;

// Calls each(key, field) for every further choice: one list for writing and for reading.
template <typename PlanType, typename Each>
void for_each_choice(PlanType&& plan, Each&& each) {
  each("sequence_parallel", plan.split.sequence_parallel);
  each("cp", plan.split.cp);
  each("cp_kind", plan.split.cp_kind);
  each("ep", plan.split.ep);
  each("etp", plan.split.etp);
  each("virtual_stages", plan.virtual_stages);
  each("schedule_cap", plan.schedule_cap);
  each("rank_order", plan.rank_order);
  each("zero", plan.zero);
  each("shard_group", plan.shard_group);
  each("mtp_layers", plan.mtp_layers);
  each("recompute_layers", plan.recompute_layers);
  each("gradient_type", plan.gradient_type);
  each("moment_type", plan.moment_type);
  each("master_weights", plan.master_weights);
  each("optimizer_offload", plan.optimizer_offload);
  each("activation_offload", plan.activation_offload);
  each("overlap_gradients", plan.overlap.gradients);
  each("overlap_parameters", plan.overlap.parameters);
  each("overlap_tensor", plan.overlap.tensor);
  each("overlap_pipeline", plan.overlap.pipeline);
  each("overlap_experts", plan.overlap.experts);
}

struct Writer {
  Json* json;
  const char* key;
  void operator()(int64_t value) const { (*json)[key] = value; }
  void operator()(bool value) const { (*json)[key] = value; }
  void operator()(double value) const { (*json)[key] = value; }
  void operator()(CpKind value) const { (*json)[key] = name_of(value); }
  void operator()(RankOrder value) const { (*json)[key] = name_of(value); }
  void operator()(DataType value) const { (*json)[key] = name_of(value); }
};

int64_t highest(const std::string& key) {
  if (key == "zero") return 3;
  if (key == "schedule_cap") return kMaxHeld;
  return key == "virtual_stages" || key == "recompute_layers" ? kMaxLayers : kMaxDevices;
}
bool may_be_zero(const std::string& key) {
  return key == "zero" || key == "etp" || key == "mtp_layers" || key == "shard_group" ||
         key == "recompute_layers" || key == "schedule_cap";
}

struct Reader {
  Fields* fields;
  std::string key;
  void operator()(int64_t& value) const {
    value = fields->integer_or(key, value, may_be_zero(key) ? 0 : 1, highest(key));
  }
  void operator()(bool& value) const { value = fields->boolean_or(key, value); }
  void operator()(double& value) const { value = fields->number_or(key, value, 0, 1); }
  void operator()(CpKind& value) const { read_name(value, parse_cp_kind, "ring or all_to_all"); }
  void operator()(RankOrder& value) const {
    read_name(value, parse_rank_order, "tp-cp-dp-pp or tp-cp-pp-dp");
  }
  void operator()(DataType& value) const { read_name(value, parse_data_type, "a data type"); }

 private:
  template <typename Kind, typename Parse>
  void read_name(Kind& value, Parse&& parse, const char* expected) const {
    const std::string name = fields->text_or(key, name_of(value));
    if (!fields->error() && !parse(name, &value)) {
      fields->fail(key, '"' + printable(name) + '"', expected);
    }
  }
};

void read_modules(Fields* fields, Plan* plan) {
  if (!fields->has("recompute_modules")) return;
  for (const Json& name : fields->array("recompute_modules")) {
    uint32_t bit = 0;
    if (!name.is_string() || !parse_module(name.get<std::string>(), &bit)) {
      fields->fail("recompute_modules", quote(name), "names of modules, e.g. core_attn");
    }
    plan->recompute_modules |= bit;
  }
}

// [forward, gradient of inputs, gradient of weights] of every chunk.
void read_units(Fields* fields, Plan* plan) {
  if (!fields->has("schedule_units")) return;
  const auto is_time = [](const Json& time) {
    return time.is_number_integer() && time >= 0 && time <= kMaxUnit;
  };
  for (const Json& unit : fields->array("schedule_units")) {
    if (!unit.is_array() || unit.size() != 3 || !std::all_of(unit.begin(), unit.end(), is_time)) {
      fields->fail("schedule_units", quote(unit), "three times of a chunk in ns, e.g. [5, 6, 4]");
      return;
    }
    plan->schedule_units.push_back(
        {unit[0].get<int64_t>(), unit[1].get<int64_t>(), unit[2].get<int64_t>()});
  }
}

// Refuses a product that overflows or degrees that do not fit together.
void check_degrees(Fields* fields, const Plan& plan) {
  const double ranks = static_cast<double>(plan.dp) * static_cast<double>(plan.tp) *
                       static_cast<double>(plan.pp) * static_cast<double>(plan.split.cp);
  if (plan.split.cp > 1 && ranks > static_cast<double>(kMaxDevices)) {
    fields->fail("cp", std::to_string(plan.split.cp),
                 "at most " + std::to_string(kMaxDevices) + " ranks in all");
  }
  if (plan.virtual_stages * plan.pp > kMaxLayers) {
    fields->fail("virtual_stages", std::to_string(plan.virtual_stages), "fewer chunks");
  }
}

}  // namespace

void add_further_choices(const Plan& plan, Json* json) {
  Json plain = Json::object(), all = Json::object();
  for_each_choice(Plan(), [&](const char* key, const auto& value) { Writer{&plain, key}(value); });
  for_each_choice(plan, [&](const char* key, const auto& value) { Writer{&all, key}(value); });
  for (const auto& [key, value] : all.items()) {
    if (value != plain[key]) (*json)[key] = value;
  }
  if (!plan.replica_batches.empty()) (*json)["replica_batches"] = plan.replica_batches;
  if (plan.recompute_modules != 0) {
    (*json)["recompute_modules"] = names_of_modules(plan.recompute_modules);
  }
  for (const ChunkUnits& unit : plan.schedule_units) {
    const Json times = {unit.forward, unit.backward_input, unit.backward_weight};
    (*json)["schedule_units"].push_back(times);
  }
}

void read_further_choices(Fields* fields, Plan* plan) {
  for_each_choice(*plan, [&](const char* key, auto& value) { Reader{fields, key}(value); });
  read_modules(fields, plan);
  read_units(fields, plan);
  if (fields->has("replica_batches")) {
    plan->replica_batches = fields->integers("replica_batches", 1, kMaxBatch);
    if (static_cast<int64_t>(plan->replica_batches.size()) != plan->dp) {
      fields->fail("replica_batches", std::to_string(plan->replica_batches.size()) + " entries",
                   "one for each of dp " + std::to_string(plan->dp) + " replicas");
    }
  }
  check_degrees(fields, *plan);
}

}  // namespace shardwright
