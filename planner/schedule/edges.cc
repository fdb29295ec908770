#include "planner/schedule/edges.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/schedule/held.h"

namespace shardwright {
namespace {

// The order of backwards is that of forwards backwards: both ends hold the same passes, and what
// is held before the first backward is what the stage holds at most.
StageEdges one_f_one_b(const ScheduleShape& shape, int stage, ChunkEdges* chunks) {
  int held = 0;
  for (int k = 0; k < shape.virtual_stages; ++k) {
    chunks[k].before = chunks[k].after = in_flight(shape, stage, k);
    held += chunks[k].before;
  }
  StageEdges edges;
  edges.alone = held == shape.microbatches * shape.virtual_stages;
  return edges;
}

// ZB-H1, and with `pace` 2 ZB-H2: gradients of weights lag pace * stage microbatches behind.
StageEdges zb_h(const ScheduleShape& shape, int pace, int stage, ChunkEdges* chunk) {
  const int m = shape.microbatches, behind = pace * stage;
  chunk->before = chunk->after = std::min(m, pace * (shape.stages - stage - 1) + 1);
  chunk->left = std::min(m, behind + 1);
  chunk->filling = m - chunk->left - std::max(0, m - chunk->after - behind);
  StageEdges edges;
  edges.alone = chunk->before == m;
  return edges;
}

// Until the cool-down every gradient of inputs has its gradient of weights right behind it. It is
// made for at least 2p - 1 microbatches, `missing` of which drop out.
StageEdges zb_v(const ScheduleShape& shape, int stage, ChunkEdges* chunks) {
  const int m = shape.microbatches, p = shape.stages, missing = std::max(0, 2 * p - 1 - m);
  const auto first = [m](int count) { return std::min(m, count); };
  chunks[0] = {first(2 * p - stage - 1), first(p), std::clamp(p - missing, 1, stage + 1), 0};
  chunks[1] = {first(stage + 1), first(stage + 1), std::max(0, stage - missing), 0};
  for (int k = 0; k < 2; ++k) chunks[k].filling = chunks[k].after - chunks[k].left;
  StageEdges edges;
  edges.alone = m <= stage + 1;
  return edges;
}

// The phases of dualpipe_v.cc: of the 2 (stage + 1) last backwards the second half leave their
// gradients of weights, chunks in turn, and `below` of those are made before the end.
StageEdges dualpipe_v(const ScheduleShape& shape, int stage, ChunkEdges* chunks) {
  const int p = shape.stages, below = p - stage - 1;
  const int turns = std::max(0, stage + 1 - below) / 2;
  chunks[0] = {2 * p - stage - 1 + (below == 0 ? 1 : 0), p + 1, stage + 1 - turns, 0};
  chunks[1] = {stage + 1, stage + 1, turns, 0};
  for (int k = 0; k < 2; ++k) chunks[k].filling = chunks[k].after - chunks[k].left;
  return {};
}

// Passes of a block repeated every 6 slots, from the starts of its passes.
StageEdges v_half(const ScheduleShape& shape, int stage, ChunkEdges* chunks) {
  const std::array<int, 4> starts = v_half_starts(stage, shape.stages);
  const auto within = [&](int slots) {  // passes that start so many slots before another, or less
    return std::clamp((slots + kVHalfPeriod - 1) / kVHalfPeriod, 0, shape.microbatches);
  };
  for (int k = 0; k < 2; ++k) {
    chunks[k].before = within(starts[2] - starts[k]);
    chunks[k].after = within(starts[3 - k] - starts[1]);
  }
  StageEdges edges;
  edges.most_held = v_half_held(shape.stages);
  edges.alone = chunks[1].before == shape.microbatches;
  return edges;
}

}  // namespace

StageEdges stage_edges(const ScheduleShape& shape, int stage, ChunkEdges* chunks) {
  switch (shape.kind) {
    case ScheduleKind::kOneFOneB:
      return one_f_one_b(shape, stage, chunks);
    case ScheduleKind::kZbH1:
      return zb_h(shape, 1, stage, chunks);
    case ScheduleKind::kZbH2:
      return zb_h(shape, 2, stage, chunks);
    case ScheduleKind::kZbV:
      return zb_v(shape, stage, chunks);
    case ScheduleKind::kDualPipeV:
      return dualpipe_v(shape, stage, chunks);
    case ScheduleKind::kVHalf:
      return v_half(shape, stage, chunks);
    case ScheduleKind::kSynthesised: {
      StageEdges edges;
      edges.most_held = static_cast<int>(shape.cap);
      edges.passes_known = false;
      return edges;
    }
    default:
      SW_CHECK(false, name_of(shape.kind) << " runs in phases");
  }
}

}  // namespace shardwright
