// The prediction of another framework's job as `export --json` and `lint --json` print it.
#pragma once

#include "costmodel/json.h"
#include "planner/export/job_pricer.h"

namespace shardwright {

Json to_json(const JobPrediction& predicted, const JobSoftware& software);

}  // namespace shardwright
