// What the arguments of a question mean: objective, limits, rates, measures; and what is wrong with
// them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/search/pareto.h"
#include "tools/plan_command.h"

namespace shardwright {

struct Deadline {
  double tokens = 0, days = 0;
  double tokens_per_s() const { return tokens / (days * 86400); }
};

// Of one cluster. The source says where the watts come from.
struct KnownRates {
  DeviceRates rates;
  std::string watts_source;
};

struct QuestionRequest {
  Objective objective = Objective::kStep;
  DeviceLimits limits;
  std::optional<Deadline> deadline;
  std::optional<ParetoRequest> pareto;
  bool over_counts() const { return objective != Objective::kStep || limits.any(); }
};

std::vector<std::string> split_commas(const std::string& text);

// Errors: words and numbers that mean nothing, and questions that exclude each other.
Result<QuestionRequest> question_request_of(const QuestionArguments& arguments);

// Rates of the `index`-th of `count` clusters: as given, watts else as the device's profile states.
Result<KnownRates> rates_of(const QuestionArguments& arguments, size_t index, size_t count,
                            const ClusterSpec& cluster);
// That the rates which the question takes are known.
std::optional<Error> check_rates(const QuestionRequest& question, const DeviceRates& rates);

}  // namespace shardwright
