// What tests of schedules share: shapes of every kind, random times, orders in short text.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "planner/schedule/walk.h"

namespace shardwright {

// "F0 B0": chunk 0 of the stage; "F0'": its chunk 1. I and W: the gradients of inputs and weights.
inline std::string text_of(const std::vector<Slot>& order) {
  std::string out;
  for (const Slot& slot : order) {
    out += "FBIW"[slot.kind] + std::to_string(slot.microbatch) + std::string(slot.chunk, '\'');
  }
  return out;
}

// Every hand-made schedule of up to `stages` and `microbatches` that exists, chunks up to 4 a
// stage.
inline std::vector<ScheduleShape> shapes_up_to(int stages, int microbatches) {
  std::vector<ScheduleShape> shapes;
  for (int kind = 0; kind < kScheduleKinds; ++kind) {
    if (static_cast<ScheduleKind>(kind) == ScheduleKind::kSynthesised) continue;
    for (int p = 1; p <= stages; ++p) {
      for (int v = 1; v <= 4; ++v) {
        for (int m = 1; m <= microbatches; ++m) {
          ScheduleShape shape{static_cast<ScheduleKind>(kind), p, v, m, {}, 0};
          if (schedule_problem(shape).empty()) shapes.push_back(shape);
        }
      }
    }
  }
  return shapes;
}

inline PassTimes uniform_times(const ScheduleShape& shape, const ChunkUnits& ns,
                               int64_t message_ns = 0) {
  PassTimes times;
  times.chunks.assign(shape.chunks(), ns);
  times.message_ns.assign(shape.chunks() - 1, message_ns);
  return times;
}

inline PassTimes random_times(const ScheduleShape& shape, std::mt19937* random) {
  const auto pick = [&](int64_t high) {
    return static_cast<int64_t>((*random)() % static_cast<uint64_t>(high + 1));
  };
  PassTimes times = uniform_times(shape, {1 + pick(50), 1 + pick(50), pick(50)}, pick(30));
  if (pick(3) == 0) return times;
  for (ChunkUnits& chunk : times.chunks) {
    chunk.forward += pick(20);
    chunk.backward_input += pick(20);
    chunk.backward_weight += pick(20);
  }
  for (int64_t& message : times.message_ns) message += pick(3) == 0 ? pick(200) : 0;
  return times;
}

inline std::string name_of(const ScheduleShape& shape) {
  return std::string(name_of(shape.kind)) + " p" + std::to_string(shape.stages) + " v" +
         std::to_string(shape.virtual_stages) + " m" + std::to_string(shape.microbatches);
}

}  // namespace shardwright
