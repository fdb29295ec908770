// Which schedules exist for which sizes.
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

std::string one_f_one_b_problem(const ScheduleShape& shape) {
  if (shape.virtual_stages == 1) return "";
  if (shape.stages == 1) return "pp 1 has no virtual stages";
  if (shape.microbatches % shape.stages == 0) return "";
  return std::to_string(shape.microbatches) + " microbatches are not divisible by pp " +
         std::to_string(shape.stages);
}

}  // namespace

std::string schedule_problem(const ScheduleShape& shape) {
  const std::string name = name_of(shape.kind);
  if (shape.kind == ScheduleKind::kOneFOneB) return one_f_one_b_problem(shape);
  if (shape.kind > ScheduleKind::kZbH1) return name + " is not known yet";
  if (shape.stages == 1) {
    return "pp 1 has no pipeline: " + name + " would only hold more microbatches than 1f1b";
  }
  if (shape.kind == ScheduleKind::kBreadthFirst) {
    return shape.virtual_stages > 1 ? "" : "breadth-first without virtual stages is gpipe";
  }
  return shape.virtual_stages == 1 ? "" : name + " has no virtual stages";
}

}  // namespace shardwright
