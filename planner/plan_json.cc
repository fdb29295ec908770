#include "planner/plan_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planner/plan_fields.h"

namespace shardwright {
namespace {

constexpr const char* kSchema = "shardwright.plan/1";

Json to_json(const InputFile& input) {
  return {{"source", input.source}, {"digest", input.digest}};
}

Json to_json(const Prediction& predicted) {
  Json stages = Json::array();
  for (const StageMemory& stage : predicted.stages) stages.push_back(to_json(stage));
  return {
      {"step_time_s", predicted.step_time_s},   {"tokens_per_s", predicted.tokens_per_s},
      {"bubble_share", predicted.bubble_share}, {"memory_peak_bytes", predicted.memory_peak_bytes},
      {"time_parts", to_json(predicted.parts)}, {"stages", std::move(stages)}};
}

// One axis: `size` members `stride` apart.
struct AxisLayout {
  const char* name;
  int64_t size, stride;
};

// Indented by two, but lists of plain values stay on one line: groups of ranks are lists of lists.
void print(const Json& json, size_t indent, std::string* out) {
  const auto plain = [](const Json& value) { return !value.is_structured(); };
  if (plain(json) || json.empty() ||
      (json.is_array() && std::all_of(json.begin(), json.end(), plain))) {
    // A source may hold bytes that are no UTF-8: replaced rather than thrown at.
    out->append(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  std::string line(indent + 3, ' ');
  line.front() = '\n';
  const char* separator = "";
  out->append(json.is_array() ? "[" : "{");
  for (const auto& [key, value] : json.items()) {
    out->append(separator).append(line);
    if (json.is_object()) out->append(Json(key).dump()).append(": ");
    print(value, indent + 2, out);
    separator = ",";
  }
  out->append(line, 0, indent + 1).append(json.is_array() ? "]" : "}");
}

Json listed(const AxisLayout& axis, int64_t ranks) {
  Json groups = Json::array();
  for (int64_t first = 0; first < ranks; ++first) {
    if (first / axis.stride % axis.size != 0) continue;
    Json members = Json::array();
    for (int64_t i = 0; i < axis.size; ++i) members.push_back(first + i * axis.stride);
    groups.push_back(std::move(members));
  }
  return groups;
}

}  // namespace

Json groups_json(const Plan& plan) {
  Json groups = Json::object();
  const int64_t replica = plan.tp * plan.split.cp, stage = numbering_of(plan).together;
  const int64_t dp = stage == replica ? replica * plan.pp : replica;
  for (const AxisLayout& axis :
       {AxisLayout{"tp", plan.tp, 1}, AxisLayout{"cp", plan.split.cp, plan.tp},
        AxisLayout{"dp", plan.dp, dp}, AxisLayout{"pp", plan.pp, stage}}) {
    if (axis.size == 1) continue;
    if (plan.ranks() <= kMaxListedRanks) {
      groups[axis.name] = listed(axis, plan.ranks());
    } else {
      groups[axis.name] = std::to_string(plan.ranks() / axis.size) + " groups of " +
                          std::to_string(axis.size) + " ranks, " + std::to_string(axis.stride) +
                          " apart";
    }
  }
  return groups;
}

Json choices_json(const Plan& plan) {
  Json json = {{"dp", plan.dp},
               {"tp", plan.tp},
               {"pp", plan.pp},
               {"micro_batch", plan.micro_batch},
               {"global_batch", plan.global_batch},
               {"microbatches", plan.microbatches()},
               {"seq", plan.seq},
               {"schedule", name_of(plan.schedule)},
               {"recompute", name_of(plan.recompute)},
               {"precision", name_of(plan.precision)},
               {"optimizer", name_of(plan.optimizer)},
               {"stage_layers", plan.stage_layers}};
  add_further_choices(plan, &json);
  return json;
}

Json to_json(const StageMemory& memory) {
  return {{"layers", memory.layers},
          {"parameters_bytes", memory.parameters},
          {"gradients_bytes", memory.gradients},
          {"optimizer_bytes", memory.optimizer},
          {"scratch_bytes", memory.scratch},
          {"activations_bytes", memory.activations},
          {"peak_bytes", memory.peak()},
          {"available_bytes", memory.available}};
}

Json to_json(const TimeParts& parts) {
  return {{"stage", parts.stage}, {"compute_s", parts.compute_s},
          {"tp_s", parts.tp_s},   {"pp_s", parts.pp_s},
          {"dp_s", parts.dp_s},   {"optimizer_s", parts.optimizer_s}};
}

Prediction prediction_of(const RankedPlan& ranked) {
  Prediction predicted;
  predicted.step_time_s = ranked.step_time_s;
  predicted.tokens_per_s = ranked.tokens_per_s;
  predicted.bubble_share = ranked.bubble_share;
  predicted.memory_peak_bytes = ranked.memory_peak_bytes;
  predicted.parts = ranked.parts;
  predicted.stages = ranked.stages;
  return predicted;
}

Json to_json(const PlanFile& file) {
  Json json;
  json["schema"] = kSchema;
  json["inputs"] = {{"model", to_json(file.model)}, {"cluster", to_json(file.cluster)}};
  if (!file.stack.empty()) json["stack"] = file.stack;
  if (file.limits) json["limits"] = to_json(*file.limits);
  json["ranks"] = file.plan.ranks();
  json["plan"] = choices_json(file.plan);
  json["groups"] = groups_json(file.plan);
  json["predicted"] = to_json(file.predicted);
  return json;
}

std::string plan_text(const PlanFile& file) {
  std::string text;
  print(to_json(file), 0, &text);
  return text + "\n";
}

}  // namespace shardwright
