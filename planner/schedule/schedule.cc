#include "planner/schedule/schedule.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {

std::vector<Slot> schedule_order(ScheduleKind kind, int stage, int stages, int microbatches) {
  switch (kind) {
    case ScheduleKind::kGPipe:
      return gpipe_order(stage, stages, microbatches);
    case ScheduleKind::kOneFOneB:
      return one_f_one_b_order(stage, stages, microbatches);
  }
  SW_CHECK(false, "schedule " << static_cast<int>(kind));
}

int in_flight(ScheduleKind kind, int stage, int stages, int microbatches) {
  int held = 0, most = 0;
  for (const Slot& slot : schedule_order(kind, stage, stages, microbatches)) {
    held += slot.kind == Slot::kForward ? 1 : -1;
    most = std::max(most, held);
  }
  return most;
}

}  // namespace shardwright
