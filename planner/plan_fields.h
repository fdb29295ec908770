// Choices of a plan that plan.json writes only where they differ from a plain dp, tp, pp plan, so
// that plans without them keep their bytes.
#pragma once

#include "costmodel/json.h"
#include "planner/plan.h"

namespace shardwright {

void add_further_choices(const Plan& plan, Json* json);
// Absent fields keep their defaults; errors stay in `fields`.
void read_further_choices(Fields* fields, Plan* plan);

}  // namespace shardwright
