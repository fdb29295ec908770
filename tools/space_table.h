// What `plan` prints for people about plans of a framework's stack.
#pragma once

#include <string>

#include "planner/search/shortage.h"

namespace shardwright {

std::string space_table(const ModelSpec& model, const ClusterSpec& cluster,
                        const std::string& stack, const SpaceResult& result);
// Why there is no plan: the nearest one and what it misses, or the rules that refuse all.
std::string reason_text(const SpaceResult& result, const std::optional<Shortage>& shortage);
// The rules that no plan obeys, in one line.
std::string rules_text(const std::vector<Rejection>& rejections);

}  // namespace shardwright
