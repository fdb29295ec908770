// Which schedules exist for which sizes.
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

std::string one_f_one_b_problem(const ScheduleShape& shape) {
  if (shape.virtual_stages == 1) return "";
  if (shape.stages == 1) return "pp 1 has no virtual stages";
  const int64_t round = interleaved_round(shape.kind, shape.stages, shape.virtual_stages);
  if (shape.microbatches % round == 0) return "";
  return std::to_string(shape.microbatches) + " microbatches are not divisible by pp " +
         std::to_string(shape.stages);
}

std::string v_problem(const ScheduleShape& shape) {
  const std::string name = name_of(shape.kind);
  if (shape.virtual_stages != 2) {
    return name + " has 2 virtual stages, not " + std::to_string(shape.virtual_stages);
  }
  if (shape.kind != ScheduleKind::kDualPipeV || shape.microbatches >= 2 * shape.stages) return "";
  return std::to_string(shape.microbatches) + " microbatches are fewer than the " +
         std::to_string(2 * shape.stages) + " that dualpipe-v needs with pp " +
         std::to_string(shape.stages);
}

std::string synthesised_problem(const ScheduleShape& shape) {
  const size_t units = shape.units.size();
  if (units != 0 && units != static_cast<size_t>(shape.chunks())) {
    return "synthesised has times of " + std::to_string(units) + " chunks, not of " +
           std::to_string(shape.chunks());
  }
  if (shape.cap >= shape.virtual_stages) return "";
  return "synthesised needs room for " + std::to_string(shape.virtual_stages) +
         " chunk-microbatches a stage, not " + std::to_string(shape.cap);
}

}  // namespace

int64_t interleaved_round(ScheduleKind kind, int64_t stages, int64_t virtual_stages) {
  return kind == ScheduleKind::kOneFOneB && virtual_stages > 1 ? stages : 1;
}

std::string schedule_problem(const ScheduleShape& shape) {
  const std::string name = name_of(shape.kind);
  if (shape.kind == ScheduleKind::kOneFOneB) return one_f_one_b_problem(shape);
  if (shape.stages == 1) {
    return "pp 1 has no pipeline: " + name + " would only hold more microbatches than 1f1b";
  }
  switch (shape.kind) {
    case ScheduleKind::kBreadthFirst:
      return shape.virtual_stages > 1 ? "" : "breadth-first without virtual stages is gpipe";
    case ScheduleKind::kZbV:
    case ScheduleKind::kVHalf:
    case ScheduleKind::kDualPipeV:
      return v_problem(shape);
    case ScheduleKind::kSynthesised:
      return synthesised_problem(shape);
    default:
      return shape.virtual_stages == 1 ? "" : name + " has no virtual stages";
  }
}

}  // namespace shardwright
