// Timeline: when every instruction of a Program ran and how long each of its steps took. The
// predicted and the measured one are this same type with the same ids, so they compare line by
// line.
#pragma once

#include <string>
#include <vector>

#include "costmodel/json.h"
#include "planner/program/instruction.h"
#include "planner/program/readiness.h"
#include "planner/program/step_table.h"
#include "planner/program/step_times.h"

namespace shardwright {

struct EventTime {
  Nanoseconds start = 0, end = 0;  // start: when it could run, waiting for others excluded
  StepTimes steps;                 // parallel to those of the StepTable; may be empty
  Nanoseconds duration() const { return end - start; }
  friend bool operator==(const EventTime&, const EventTime&) = default;
};

struct RankTimeline {
  int rank = 0;
  Bytes peak_bytes = 0;
  int peak_index = -1;            // instruction at which the peak stands; -1 unknown
  std::vector<EventTime> events;  // by instruction index
  friend bool operator==(const RankTimeline&, const RankTimeline&) = default;
};

struct Timeline {
  std::vector<RankTimeline> ranks;  // as Program::ranks
  Nanoseconds makespan() const;     // end of the last event; time starts at 0
  Bytes peak_bytes() const;         // of the fullest rank
  // Share of rank-time in which the compute lane stands still, 0..1.
  double idle_share(const Program& program) const;
  friend bool operator==(const Timeline&, const Timeline&) = default;
};

// Instructions that ran before the rule allowed; empty for every correct timeline. On one rank
// nothing starts before what it follows has ended. Between ranks a receive does not end before its
// send starts: a sender reads the clock after it has posted and may lose its core in between, so
// the send's end proves nothing.
std::vector<Readiness::Mismatch> check_order(const Program& program, const Readiness& rule,
                                             const Timeline& timeline);

Json to_json(const Timeline& timeline);
Result<Timeline> read_timeline(const Json& json, const std::string& file);

// Chrome/Perfetto trace with one process per named timeline, one thread per rank and lane.
struct NamedTimeline {
  std::string name;
  const Timeline* timeline = nullptr;
};
Json trace_of(const Program& program, const StepTable& table,
              const std::vector<NamedTimeline>& timelines);

}  // namespace shardwright
