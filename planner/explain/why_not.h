// Why a plan with given choices is not the answer: a rule, missing memory, or seconds.
#pragma once

#include <string>
#include <vector>

#include "planner/explain/explain.h"

namespace shardwright {

struct WhyNot {
  enum Kind { kRule, kMemory, kTime, kNothing };
  Kind kind = kNothing;               // kNothing: the best plan has these choices, or one as fast
  std::vector<Rejection> rejections;  // kRule: the first for each rule
  std::optional<RankedPlan> plan;     // kMemory: the one that misses least; kTime: the best of them
  RankMemory memory;                  // kMemory: its fullest stage
  double missing_bytes = 0;           // kMemory: beyond what may be used
  std::optional<Comparison> against;  // kTime: what `plan` loses against the best
  std::string line() const;           // for people
};

// `choices`: "tp=4,pp=2". Errors: a choice that there is not, and those of search_space.
Result<WhyNot> why_not(Software& software, const SpaceRequest& request, const std::string& choices,
                       const RankedPlan& best, const Interval& interval);

}  // namespace shardwright
