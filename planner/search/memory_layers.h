// Layers per stage where memory decides: sharings that are slower than the one by speed alone, but
// fit.
#pragma once

#include "planner/search/known_choices.h"

namespace shardwright {

// REQUIRES: plan.stage_layers are those of Software::share_layers.
// The layers of the plan's pipeline. They stay as they are where something of the pipeline fits
// with them: the plan as it is, or with one of the choices that need least memory (of every ZeRO
// stage the largest groups, of every recomputation the most layers). Else the sharing with the
// fastest slowest stage under which one of these fits; as they are when there is none, or none that
// the framework can express. For one chunk a stage, layers of one kind and schedules that
// do not follow from times: of others no stage's memory follows from how many layers it has.
std::vector<int64_t> layers_that_fit(Software& software, const KnownChoices& known,
                                     const PlanSpace& space, const MemoryLimit& limit,
                                     const Plan& plan);

}  // namespace shardwright
