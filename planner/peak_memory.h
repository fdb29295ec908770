// Peak memory of a simulated rank: the running sum of live buffers over its instructions' times.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "planner/program/instruction.h"
#include "planner/program/timeline.h"

namespace shardwright {

// Counts rank after rank of one program, whose buffers it looks up once per chunk and opcode. At
// equal times buffers are freed before others are made, as a finished instruction gives back before
// the next one starts. An instruction of no duration still holds its buffers while it runs.
class PeakMemory {
 public:
  // The program must outlive this.
  PeakMemory(const Program& program, const Readiness& rule);
  // Sets peak_bytes and peak_index from the times of timeline->events.
  void count(int at, RankTimeline* timeline);

 private:
  // What comes first of several changes at one time.
  enum Order { kFreed = 0, kMade = 1, kFreedAtOnce = 2 };
  struct Change {
    int64_t moment;  // 4 * the time + Order
    int index;       // of the instruction
    int kind;        // what it makes; ~kind: what it frees
  };
  // Changes of one lane in their order, and one after them that never comes.
  struct Stream {
    const Change *begin, *end, *next;
  };
  struct Running {
    Bytes live = 0, peak = 0;
    int peak_index = -1;
  };

  struct Kind {
    Bytes made = 0, freed = 0;
    int lane = 0;
    int met_by = -1;  // position of the last rank that has such instructions
  };
  void meet(int at, int index, Kind* kind);
  void note_changes(int at, const std::vector<EventTime>& events);
  void merge(Running* running);
  int latest(const Stream* streams, size_t count, int64_t moment) const;

  static constexpr size_t kLanes = static_cast<size_t>(Lane::kCount);
  const Program& program_;
  const Readiness& rule_;
  std::vector<Kind> kinds_;  // by kind_of
  std::vector<int> chunks_;  // that the rank works for
  size_t room_ = 1;          // changes that a stream may have, and its end
  // [lanes, 2, room_]: starts and ends of a lane; ends of those that take no time.
  std::unique_ptr<Change[]> changes_;
  std::array<Change*, 2 * kLanes> ends_;
};

}  // namespace shardwright
