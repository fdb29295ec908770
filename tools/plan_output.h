// What `plan --json` prints.
#pragma once

#include <string>

#include "planner/search.h"
#include "planner/search/shortage.h"

namespace shardwright {

Json to_json(const RankedPlan& ranked);
std::string plan_json_text(const SearchResult& result);
Json to_json(const Shortage& shortage);
std::string plan_json_text(const SpaceResult& result, const std::string& stack,
                           const std::optional<Shortage>& shortage);

}  // namespace shardwright
