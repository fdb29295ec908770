// What `explain` prints: tables for people within 100 columns, and the same as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "planner/explain/explain.h"
#include "planner/explain/sensitivity.h"
#include "planner/explain/why_not.h"

namespace shardwright {

struct ExplainReport {
  std::optional<Explanation> explanation;  // of a stack's plan
  std::optional<RankedPlan> own;           // of the own executor's plan
  std::string limits;                      // within which other plans were looked for; "": none
  std::optional<RankedPlan> unlimited;     // the fastest of all, where choices were limited
  std::optional<WhyNot> why_not;
  std::vector<Sensitivity> sensitivities;
  std::vector<BreakEven> break_evens;
};
std::string explain_table(const ExplainReport& report, const ClusterSpec& cluster);
Json explain_json(const ExplainReport& report, const ClusterSpec& cluster);

}  // namespace shardwright
