// Explains a plan of a framework's stack: where its time and memory go, what binds, and what it is
// better than by how much.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/intervals.h"
#include "planner/search/full_search.h"

namespace shardwright {

struct NamedSeconds {
  const char* name;
  double seconds;
};
// Parts of a step; they add up to step_s. "compute at peak" is the model's own work (6 FLOPs a
// weight and token and the causal half of attention, without recomputation) spread evenly over all
// devices at their data-sheet peak; "compute above peak" is what the slowest stage computes beyond
// that: efficiency, recomputation, uneven stages. "bubble" is what no other part accounts for:
// waiting for other stages. All others are exposed: beside compute they cost nothing. Each but
// "fixed" includes its share of what the stack's pace and the waiting between nodes add.
struct TimeBreakdown {
  double step_s = 0;
  double mfu = 0;  // compute at peak / step; 0 where the model's work has no formula
  std::vector<NamedSeconds> parts;
};
TimeBreakdown time_breakdown(Software& software, const Plan& plan);

struct MemoryBreakdown {
  std::vector<RankMemory> stages;
  int64_t fullest = 0;   // stage, of what its devices have
  double available = 0;  // to it
};
MemoryBreakdown memory_breakdown(Software& software, const Plan& plan);

struct ChoiceDifference {
  std::string name, here, there;
};
// What differs between the choices of two plans, by the names of plan.json.
std::vector<ChoiceDifference> differences(const Plan& here, const Plan& there);

// Another plan beside the one explained: what it loses (positive) in all and by part.
struct Comparison {
  RankedPlan plan;
  std::vector<ChoiceDifference> choices;
  double lost_s = 0;
  std::vector<NamedSeconds> lost;  // of the same names as TimeBreakdown::parts
  // Two predictions of one stack share most of their error. Assumed: each part's relative error has
  // the stack's 80 % interval, is the same for both plans, and independent of other parts'. Then
  // the difference is known to +-spread_s = half the interval's width * sqrt(sum of lost^2).
  double spread_s = 0;
  bool tie = false;         // |lost_s| <= spread_s
  std::string measurement;  // of a tie: what to measure first to tell them apart
};
Comparison compare_plans(Software& software, const RankedPlan& here, const RankedPlan& there,
                         const Interval& interval);

struct Explanation {
  RankedPlan plan;
  TimeBreakdown time;
  MemoryBreakdown memory;
  std::string binds;  // one line: the fullest and the largest part of time
  std::vector<Comparison> others;
  SpaceStats stats;
};
// `request` is what the runners-up are searched for; its constraints do not bind `plan`.
Result<Explanation> explain(Software& software, const SpaceRequest& request, const Plan& plan,
                            const Interval& interval);

// The request that asks for other plans of the same work on as many devices.
SpaceRequest request_like(const Plan& plan);

}  // namespace shardwright
