// A lint report for people, at most 100 columns wide, and for machines.
#pragma once

#include <string>

#include "costmodel/json.h"
#include "planner/lint/lint.h"

namespace shardwright {

std::string lint_text(const LintReport& report, const ModelSpec& model, const ClusterSpec& cluster);
Json to_json(const LintReport& report);

}  // namespace shardwright
