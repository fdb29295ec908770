// Closed forms of both ends of an order against a count along it.
#include "planner/schedule/edges.h"

#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

struct Counted {
  std::vector<ChunkEdges> chunks;
  bool alone = true;
};

bool sends_gradient(const Slot& slot) {
  return slot.kind == Slot::kBackward || slot.kind == Slot::kBackwardInput;
}

Counted count(const std::vector<Slot>& order, int virtual_stages) {
  Counted out;
  out.chunks.resize(virtual_stages);
  size_t first_backward = order.size(), last_forward = 0, last_backward = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i].kind == Slot::kForward) last_forward = i;
    if (sends_gradient(order[i])) last_backward = i;
    if (sends_gradient(order[i]) && first_backward == order.size()) first_backward = i;
  }
  out.alone = last_forward < first_backward;
  for (size_t i = 0; i < order.size(); ++i) {
    ChunkEdges& chunk = out.chunks[order[i].chunk];
    chunk.before += order[i].kind == Slot::kForward && i < first_backward;
    chunk.after += sends_gradient(order[i]) && i > last_forward;
    // The gradient of weights of a whole backward is a part of it.
    if (order[i].kind == Slot::kForward || order[i].kind == Slot::kBackwardInput) continue;
    const bool split_only = order[i].kind == Slot::kBackwardWeight;
    chunk.left += split_only && i > last_backward;
    chunk.filling += i > last_forward && i < last_backward;
  }
  return out;
}

TEST(StageEdges, EqualACountAlongTheOrder) {
  std::vector<ChunkEdges> chunks;
  for (const ScheduleShape& shape : shapes_up_to(7, 18)) {
    if (shape.kind == ScheduleKind::kGPipe || shape.kind == ScheduleKind::kBreadthFirst) continue;
    const auto orders = schedule_orders(shape);
    for (int stage = 0; stage < shape.stages; ++stage) {
      chunks.assign(shape.virtual_stages, ChunkEdges());
      const StageEdges edges = stage_edges(shape, stage, chunks.data());
      const Counted counted = count(orders[stage], shape.virtual_stages);
      const std::string where = name_of(shape) + " stage " + std::to_string(stage);
      EXPECT_EQ(edges.alone, counted.alone) << where;
      EXPECT_EQ(edges.most_held > 0, shape.kind == ScheduleKind::kVHalf);
      int weights = 0;
      for (int k = 0; k < shape.virtual_stages; ++k) {
        EXPECT_EQ(chunks[k].before, counted.chunks[k].before) << where << " chunk " << k;
        EXPECT_EQ(chunks[k].after, counted.chunks[k].after) << where << " chunk " << k;
        weights += counted.chunks[k].left + counted.chunks[k].filling;
        if (edges.most_held > 0 || !splits_backward(shape.kind)) continue;
        EXPECT_EQ(chunks[k].left, counted.chunks[k].left) << where << " chunk " << k;
        EXPECT_EQ(chunks[k].filling, counted.chunks[k].filling) << where << " chunk " << k;
      }
      if (edges.most_held > 0) {
        EXPECT_LE(weights, edges.most_held) << where;
      }
    }
  }
}

}  // namespace
}  // namespace shardwright
