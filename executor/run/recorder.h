// Recorder: keeps the events of many steps of one rank, and joins those of all ranks to one
// Timeline.
#pragma once

#include <vector>

#include "executor/comm/communicator.h"
#include "planner/program/timeline.h"

namespace shardwright {

class Recorder {
 public:
  void add(const std::vector<EventTime>& events) { steps_.push_back(events); }
  size_t steps() const { return steps_.size(); }

  // All ranks call this once, with the same number of steps recorded. Where single Steps were timed
  // in some training steps only, the times of instructions and makespans are of the others. On rank
  // 0 fills `timeline` (relative times, medians) and `makespans`; other ranks send theirs and leave
  // both untouched.
  void gather(const Program& program, Communicator& comm, Bytes peak_bytes, int peak_index,
              Timeline* timeline, std::vector<Nanoseconds>* makespans) const;

 private:
  std::vector<std::vector<EventTime>> steps_;
};

}  // namespace shardwright
