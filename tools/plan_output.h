// What `plan --json` prints.
#pragma once

#include <string>

#include "planner/search.h"
#include "planner/search/full_search.h"

namespace shardwright {

Json to_json(const RankedPlan& ranked);
std::string plan_json_text(const SearchResult& result);
std::string plan_json_text(const SpaceResult& result, const std::string& stack);

}  // namespace shardwright
