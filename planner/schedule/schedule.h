// Pipeline schedules: in which order a stage computes. One file per schedule; this header is the
// list.
//
// A chunk is a part of the model that a stage computes in one go; a stage has virtual_stages of
// them. Orders say nothing about time: when a compute may start is decided by the messages that it
// needs (program/readiness.h).
#pragma once

#include <array>
#include <vector>

#include "planner/plan.h"

namespace shardwright {

// One compute of a stage.
struct Slot {
  // Backward is both gradients in one; otherwise backward-input and, later, backward-weight.
  enum Kind : uint8_t { kForward, kBackward, kBackwardInput, kBackwardWeight } kind = kForward;
  int16_t chunk = 0;  // of this stage, in model order: 0 .. virtual_stages - 1
  int32_t microbatch = 0;
  // Of a search's thousands of orders every slot is one of some hundred thousand: 8 bytes.
  constexpr Slot() = default;
  constexpr Slot(Kind kind, int microbatch, int chunk = 0)
      : kind(kind), chunk(static_cast<int16_t>(chunk)), microbatch(microbatch) {}
  friend bool operator==(const Slot&, const Slot&) = default;
};

// What an order depends on. `units` and `cap` are for the synthesised schedule (Plan), by chunk.
struct ScheduleShape {
  ScheduleKind kind = ScheduleKind::kOneFOneB;
  int stages = 1, virtual_stages = 1, microbatches = 1;
  std::vector<ChunkUnits> units;
  int64_t cap = 0;

  int chunks() const { return stages * virtual_stages; }
  Placement placement() const { return {is_v_shaped(kind, virtual_stages), stages}; }
  friend bool operator==(const ScheduleShape&, const ScheduleShape&) = default;
};
ScheduleShape schedule_shape(const Plan& plan);

// Microbatches that pass one chunk of a stage before the next chunk has its turn: `stages` in
// interleaved 1F1B, where microbatches come in multiples of that; 1 otherwise.
int64_t interleaved_round(ScheduleKind kind, int64_t stages, int64_t virtual_stages);

// Of one stage, and of all.
std::vector<Slot> gpipe_order(const ScheduleShape& shape, int stage);
std::vector<Slot> one_f_one_b_order(const ScheduleShape& shape, int stage);
std::vector<Slot> interleaved_order(const ScheduleShape& shape, int stage);
std::vector<Slot> breadth_first_order(const ScheduleShape& shape, int stage);
std::vector<Slot> zb_h1_order(const ScheduleShape& shape, int stage);
std::vector<Slot> zb_h2_order(const ScheduleShape& shape, int stage);
std::vector<Slot> zb_v_order(const ScheduleShape& shape, int stage);
std::vector<Slot> dualpipe_v_order(const ScheduleShape& shape, int stage);
std::vector<std::vector<Slot>> v_half_orders(const ScheduleShape& shape);
// Of V-Half: when the passes of a microbatch start on a stage (forwards of its two chunks, then
// gradients of inputs of the second and the first), in slots, every microbatch a period after the
// one before; and the chunk-microbatches that a stage holds at most.
constexpr int kVHalfPeriod = 6;
std::array<int, 4> v_half_starts(int stage, int stages);
int v_half_held(int stages);

// The order of computes of every stage. REQUIRES: schedule_problem is "".
std::vector<std::vector<Slot>> schedule_orders(const ScheduleShape& shape);

// The same for one who asks for plans that follow each other and mostly share their orders: those
// asked for last are kept. Valid until the next call.
class OrdersMemo {
 public:
  const std::vector<std::vector<Slot>>& orders(const ScheduleShape& shape);

 private:
  ScheduleShape shape_;
  std::vector<std::vector<Slot>> orders_;  // empty: none yet
};

// Why the schedule does not exist for these sizes: "6 microbatches are not divisible by pp 4";
// "" when it does.
std::string schedule_problem(const ScheduleShape& shape);

}  // namespace shardwright
