#include "tools/questions_output.h"

#include <nlohmann/json.hpp>

#include "tools/plan_output.h"

namespace shardwright {
namespace {

std::string text_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json rates_json(const KnownRates& known) {
  Json json = Json::object();
  if (known.rates.usd_per_hour > 0) json["usd_per_device_hour"] = known.rates.usd_per_hour;
  if (known.rates.watts > 0) {
    json["watts_per_device"] = known.rates.watts;
    json["watts_source"] = known.watts_source;
  }
  return json;
}

// A plan with its devices and what they cost.
Json priced(const RankedPlan& plan, const DeviceRates& rates) {
  Json json = to_json(plan);
  const auto devices = static_cast<double>(plan.plan.ranks());
  json["devices"] = plan.plan.ranks();
  json["tokens_per_s_per_device"] = plan.tokens_per_s / devices;
  if (rates.usd_per_hour > 0) json["usd_per_mtoken"] = usd_per_mtoken(rates, plan);
  if (rates.watts > 0) {
    json["kwh_per_mtoken"] = kwh_per_mtoken(rates, plan);
    json["watts"] = rates.watts * devices;
  }
  return json;
}

Json plans_json(const std::vector<RankedPlan>& plans, const DeviceRates& rates) {
  Json json = Json::array();
  for (const RankedPlan& plan : plans) json.push_back(priced(plan, rates));
  return json;
}

Json limits_json(const QuestionRequest& question) {
  Json json = Json::object();
  const DeviceLimits& limits = question.limits;
  if (limits.max_devices > 0) json["max_devices"] = limits.max_devices;
  if (limits.max_watts > 0) json["max_watts"] = limits.max_watts;
  if (limits.max_usd_per_mtoken > 0) json["max_usd_per_mtoken"] = limits.max_usd_per_mtoken;
  if (question.deadline) {
    json["deadline"] = {{"tokens", question.deadline->tokens},
                        {"days", question.deadline->days},
                        {"tokens_per_s", question.deadline->tokens_per_s()}};
  }
  return json;
}

}  // namespace

std::string micro_batch_json(const LargestMicroBatch& answer, const std::string& stack) {
  Json json;
  json["question"] = "max-micro-batch";
  json["stack"] = stack;
  json["best"] = to_json(answer.best);
  json["same_choices"] = to_json(answer.same);
  if (answer.next) json["next"] = to_json(*answer.next);
  json["any_choices"] = to_json(answer.largest);
  json["searches"] = answer.searches;
  json["complete"] = answer.complete;
  return text_of(json);
}

std::string seq_json(const LongestSeq& answer, const std::string& stack) {
  Json json;
  json["question"] = "max-seq";
  json["stack"] = stack;
  json["seq"] = answer.seq;
  json["plan"] = to_json(answer.plan);
  if (answer.next) json["next"] = to_json(*answer.next);
  for (const Rejection& rejection : answer.refused) {
    json["rejections"].push_back(rejection.line());
  }
  json["searches"] = answer.searches;
  json["complete"] = answer.complete;
  return text_of(json);
}

std::string counts_json(const CountsAnswer& answer, const QuestionRequest& question,
                        const KnownRates& known, const std::string& stack) {
  Json json;
  json["question"] = "objective";
  json["stack"] = stack;
  json["objective"] = name_of(question.objective);
  json["limits"] = limits_json(question);
  json["rates"] = rates_json(known);
  json["plans"] = plans_json(answer.plans, known.rates);
  if (answer.fastest) json["fastest"] = priced(*answer.fastest, known.rates);
  json["device_counts"] = answer.counts;
  json["searches"] = answer.searched;
  json["complete"] = answer.complete;
  return text_of(json);
}

std::string front_json(const ParetoAnswer& answer, const QuestionRequest& question,
                       const KnownRates& known, const std::string& stack) {
  Json json;
  json["question"] = "pareto";
  json["stack"] = stack;
  json["measures"] = {name_of(question.pareto->first), name_of(question.pareto->second)};
  json["memory_step_bytes"] = question.pareto->memory_step;
  json["limits"] = limits_json(question);
  json["rates"] = rates_json(known);
  json["plans"] = plans_json(answer.points, known.rates);
  json["device_counts"] = answer.counts;
  json["searches"] = answer.searches;
  json["complete"] = answer.complete;
  return text_of(json);
}

std::string clusters_json(const std::vector<ClusterRow>& rows, const QuestionRequest& question) {
  Json json;
  json["question"] = "compare-clusters";
  json["objective"] = name_of(question.objective);
  json["limits"] = limits_json(question);
  json["clusters"] = Json::array();
  for (const ClusterRow& row : rows) {
    Json entry;
    entry["name"] = row.name;
    entry["devices"] = row.devices;
    entry["rates"] = rates_json(row.known);
    if (row.best) entry["best"] = priced(*row.best, row.known.rates);
    if (!row.reason.empty()) entry["reason"] = row.reason;
    json["clusters"].push_back(std::move(entry));
  }
  return text_of(json);
}

}  // namespace shardwright
