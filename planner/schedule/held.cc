#include "planner/schedule/held.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace shardwright {
namespace {

// Of interleaved 1F1B: forwards before the first backward, in rounds of p microbatches per chunk
// (arXiv 2104.04473, section 2.2). Also for microbatches that do not come in multiples of p.
int interleaved_held(const ScheduleShape& shape, int stage, int chunk) {
  const int p = shape.stages, v = shape.virtual_stages;
  const int forwards = std::min(shape.microbatches * v, 2 * (p - stage - 1) + (v - 1) * p + 1);
  const int round = p * v;
  return forwards / round * p + std::clamp(forwards % round - chunk * p, 0, p);
}

std::optional<int> closed_form(const ScheduleShape& shape, int stage, int chunk) {
  switch (shape.kind) {
    case ScheduleKind::kGPipe:
    case ScheduleKind::kBreadthFirst:
      return shape.microbatches;
    case ScheduleKind::kOneFOneB:
      return shape.virtual_stages > 1 ? interleaved_held(shape, stage, chunk)
                                      : std::min(shape.microbatches, shape.stages - stage);
    case ScheduleKind::kZbH1:
      return std::min(shape.microbatches, shape.stages);
    case ScheduleKind::kZbH2:
      return std::min(shape.microbatches, 2 * shape.stages - 1);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::vector<HeldChunk> held_chunks(const std::vector<Slot>& order, int virtual_stages,
                                   double weight_share) {
  std::vector<HeldChunk> held(virtual_stages), fullest = held;
  int whole = 0, for_weights = 0;
  double most = 0;
  for (const Slot& slot : order) {
    HeldChunk& chunk = held[slot.chunk];
    const int forward = slot.kind == Slot::kForward          ? 1
                        : slot.kind == Slot::kBackwardWeight ? 0
                                                             : -1;
    const int input = slot.kind == Slot::kBackwardInput    ? 1
                      : slot.kind == Slot::kBackwardWeight ? -1
                                                           : 0;
    chunk.whole += forward;
    whole += forward;
    chunk.for_weights += input;
    for_weights += input;
    const double all = whole + weight_share * for_weights;
    if (all <= most) continue;
    most = all;
    fullest = held;
  }
  return fullest;
}

int in_flight(const ScheduleShape& shape, int stage, int chunk) {
  if (const auto held = closed_form(shape, stage, chunk)) return *held;
  const HeldChunk held = held_chunks(schedule_orders(shape)[stage], shape.virtual_stages)[chunk];
  return held.whole + held.for_weights;
}

bool ScheduleMemo::Less::operator()(const ScheduleShape& a, const ScheduleShape& b) const {
  const auto sizes = [](const ScheduleShape& s) {
    return std::tuple(s.kind, s.stages, s.virtual_stages, s.microbatches, s.cap);
  };
  if (sizes(a) != sizes(b)) return sizes(a) < sizes(b);
  const auto units = [](const ChunkUnits& u) {
    return std::tuple(u.forward, u.backward_input, u.backward_weight);
  };
  return std::lexicographical_compare(
      a.units.begin(), a.units.end(), b.units.begin(), b.units.end(),
      [&](const ChunkUnits& x, const ChunkUnits& y) { return units(x) < units(y); });
}

const std::vector<int>& ScheduleMemo::held(const ScheduleShape& shape) {
  if (last_ != nullptr && *last_ == shape) return *last_held_;
  const auto [entry, fresh] = held_.try_emplace(shape);
  if (fresh) {
    for (const std::vector<Slot>& order : schedule_orders(shape)) {
      for (const HeldChunk& chunk : held_chunks(order, shape.virtual_stages)) {
        entry->second.push_back(chunk.whole + chunk.for_weights);
      }
    }
  }
  last_ = &entry->first;
  last_held_ = &entry->second;
  return entry->second;
}

int ScheduleMemo::in_flight(const ScheduleShape& shape, int stage, int chunk) {
  if (const auto held = closed_form(shape, stage, chunk)) return *held;
  return held(shape)[static_cast<size_t>(stage) * shape.virtual_stages + chunk];
}

}  // namespace shardwright
