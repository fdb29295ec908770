#include "tools/plan_output.h"

#include <nlohmann/json.hpp>

#include "planner/plan_json.h"

namespace shardwright {

Json to_json(const RankedPlan& ranked) {
  Json json = choices_json(ranked.plan);
  json["label"] = ranked.plan.label();
  json["step_time_s"] = ranked.step_time_s;
  json["tokens_per_s"] = ranked.tokens_per_s;
  json["memory_peak_bytes"] = ranked.memory_peak_bytes;
  json["bubble_share"] = ranked.bubble_share;
  json["time_parts"] = to_json(ranked.parts);
  json["stages"] = Json::array();
  for (const StageMemory& stage : ranked.stages) json["stages"].push_back(to_json(stage));
  return json;
}

namespace {

Json to_json(const SearchStats& stats) {
  return {{"candidates", stats.candidates},
          {"pruned_rules", stats.pruned_by_rules()},
          {"pruned_by_rule", stats.pruned_rules},
          {"pruned_memory", stats.pruned_memory},
          {"pruned_bound", stats.pruned_bound},
          {"simulated", stats.simulated},
          {"simulated_over_memory", stats.simulated_over_memory},
          {"seconds", stats.seconds}};
}

Json to_json(const NearestMiss& miss) {
  Json json;
  json["smallest"] = to_json(miss.smallest);
  json["stage"] = miss.stage;
  json["missing_bytes"] = miss.smallest.stages[miss.stage].missing();
  json["devices_that_fit"] = miss.devices;
  json["plan_on_them"] = miss.devices_plan;
  return json;
}

Json to_json(const SearchResult& result) {
  Json json;
  json["plans"] = Json::array();
  for (const RankedPlan& ranked : result.plans) json["plans"].push_back(to_json(ranked));
  json["search"] = to_json(result.stats);
  if (result.miss) json["nearest"] = to_json(*result.miss);
  if (!result.rejections.empty()) {
    json["rejections"] = Json::array();
    for (const Rejection& rejection : result.rejections) {
      json["rejections"].push_back(rejection.line());
    }
  }
  return json;
}

Json to_json(const SpaceStats& stats) {
  return {{"candidates", stats.candidates},
          {"pruned_rules", stats.pruned_rules},
          {"pruned_by_rule", stats.by_rule},
          {"pruned_memory", stats.pruned_memory},
          {"pruned_bound", stats.pruned_bound},
          {"priced", stats.priced},
          {"simulated", stats.simulated},
          {"lower_bound_s", stats.lower_bound_s},
          {"optimality_gap_pct", stats.optimality_gap_pct},
          {"complete", stats.complete},
          {"seconds", stats.seconds}};
}

std::string text_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string plan_json_text(const SearchResult& result) { return text_of(to_json(result)); }

Json to_json(const Shortage& shortage) {
  Json json;
  json["smallest"] = to_json(shortage.plan);
  json["stage"] = shortage.memory.stage;
  json["phase"] = shortage.memory.phase;
  json["needed_bytes"] = shortage.memory.device_bytes;
  json["usable_bytes"] = shortage.usable_bytes;
  json["missing_bytes"] = shortage.missing_bytes;
  json["parts_bytes"] = Json::object();
  for (const MemoryPart& part : shortage.memory.parts) {
    json["parts_bytes"][part.name] = json["parts_bytes"].value(part.name, 0.0) + part.bytes;
  }
  if (shortage.devices > 0) {
    json["devices_that_fit"] = shortage.devices;
    json["plan_on_them"] = shortage.devices_plan;
  }
  if (shortage.unconstrained) json["without_constraints"] = to_json(*shortage.unconstrained);
  return json;
}

std::string plan_json_text(const SpaceResult& result, const std::string& stack,
                           const std::optional<Shortage>& shortage) {
  Json json;
  json["stack"] = stack;
  json["plans"] = Json::array();
  for (const RankedPlan& ranked : result.plans) json["plans"].push_back(to_json(ranked));
  json["search"] = to_json(result.stats);
  if (shortage) json["nearest"] = to_json(*shortage);
  for (const Rejection& rejection : result.rejections) {
    json["rejections"].push_back(rejection.line());
  }
  return text_of(json);
}

}  // namespace shardwright
