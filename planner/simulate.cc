#include "planner/simulate.h"

#include <algorithm>
#include <vector>

#include "costmodel/check.h"
#include "planner/program/buffers.h"

namespace shardwright {
namespace {

// Gives every event of a unit its time, from those before it. Ends are kept close together: events
// of large programs do not fit into a core's cache.
class Clock {
 public:
  Clock(const Program& program, const Readiness& rule, const ProgramCosts& costs)
      : rule_(rule), costs_(costs) {
    for (const RankProgram& rank : program.ranks) ends_.emplace_back(rank.instructions.size());
  }

  void operator()(std::span<const Ref> unit) {
    // Members of a unit start together, when the last of them is ready.
    Nanoseconds start = 0, duration = 0;
    for (Ref ref : unit) {
      rule_.for_each_before(
          ref, [&](Ref before) { start = std::max(start, ends_[before.at][before.index]); });
      duration = std::max(duration, costs_.instruction[ref.at][ref.index]);
    }
    for (Ref ref : unit) {
      ends_[ref.at][ref.index] = start + duration;
      if (unit.size() > 1) shared_.emplace_back(ref, duration);
    }
  }

  void fill(Timeline* timeline) const {
    for (size_t at = 0; at < ends_.size(); ++at) {
      for (size_t i = 0; i < ends_[at].size(); ++i) {
        EventTime& event = timeline->ranks[at].events[i];
        event.end = ends_[at][i];
        event.start = event.end - costs_.instruction[at][i];
        if (!costs_.steps.empty()) event.steps = costs_.steps[at][i];
      }
    }
    for (const auto& [ref, duration] : shared_) {
      EventTime& event = timeline->ranks[ref.at].events[ref.index];
      event.start = event.end - duration;
    }
  }

 private:
  const Readiness& rule_;
  const ProgramCosts& costs_;
  std::vector<std::vector<Nanoseconds>> ends_;       // by position and index
  std::vector<std::pair<Ref, Nanoseconds>> shared_;  // units that last as long as their slowest
};

void place_events(const Program& program, const Readiness& rule, const ProgramCosts& costs,
                  Timeline* timeline) {
  Clock clock(program, rule, costs);
  if (!rule.walk_lists(clock)) {
    // Starts anew: times follow from the rule, not from the order of visits.
    const std::vector<Ref> stuck = rule.walk(clock);
    SW_CHECK(stuck.empty(), label_of(instruction_at(program, stuck.front()))
                                << " of rank " << program.ranks[stuck.front().at].rank
                                << " can never start");
  }
  clock.fill(timeline);
}

// Bytes that instructions allocate when they start and free when they have ended: the same for all
// microbatches.
class EffectBytes {
 public:
  explicit EffectBytes(const Program& program)
      : program_(program),
        known_((program.chunks.size() + 1) * static_cast<size_t>(OpCode::kCount)) {}

  struct Change {
    Bytes allocates = -1, frees = 0;
  };
  const Change& of(const Instruction& next) {
    const size_t place = static_cast<size_t>(next.chunk + 1) * static_cast<size_t>(OpCode::kCount) +
                         static_cast<size_t>(next.op);
    Change& change = known_.at(place);
    if (change.allocates >= 0) return change;
    change.allocates = 0;
    const Effects effects = effects_of(program_, next);
    for (const Buffer& b : effects.allocates) change.allocates += bytes_of(program_, b);
    for (const Buffer& b : effects.frees) change.frees += bytes_of(program_, b);
    return change;
  }

 private:
  const Program& program_;
  std::vector<Change> known_;
};

// The running sum of live buffers over simulated time. At equal times buffers are freed before
// others are made, as a finished instruction gives back before the next one starts. An instruction
// of no duration still holds its buffers while it runs.
class MemoryCount {
 public:
  MemoryCount(const Program& program, int at, EffectBytes* bytes, RankTimeline* timeline)
      : list_(program.ranks[at].instructions), timeline_(*timeline) {
    timeline->peak_bytes = live_ = resident_bytes(program, program.ranks[at]);
    for (int i = 0; i < static_cast<int>(list_.size()); ++i) {
      const EffectBytes::Change& change = bytes->of(list_[i]);
      const EventTime& event = timeline->events[i];
      const auto lane = static_cast<size_t>(list_[i].lane);
      if (change.allocates > 0) {
        streams_[2 * lane].changes.push_back({event.start, 1, i, change.allocates});
      }
      if (change.frees > 0) {
        const bool instant = event.end == event.start;
        streams_[2 * lane + 1].changes.push_back({event.end, instant ? 2 : 0, i, -change.frees});
      }
    }
  }

  void run() {
    std::erase_if(streams_, [](const Stream& stream) { return stream.changes.empty(); });
    while (!streams_.empty()) {
      auto first = streams_.begin();
      for (auto it = first + 1; it < streams_.end(); ++it) {
        if (it->top() < first->top()) first = it;
      }
      apply(first->top());
      if (++first->next == first->changes.size()) streams_.erase(first);
    }
  }

 private:
  struct Change {
    Nanoseconds time = 0;
    int order = 0, index = 0;  // of two at the same time
    Bytes bytes = 0;
    friend bool operator<(const Change& a, const Change& b) {
      if (a.time != b.time) return a.time < b.time;
      return a.order != b.order ? a.order < b.order : a.index < b.index;
    }
  };
  // Starts, or ends, of one lane: in their order by themselves.
  struct Stream {
    std::vector<Change> changes;
    size_t next = 0;
    const Change& top() const { return changes[next]; }
  };

  void apply(const Change& change) {
    live_ += change.bytes;
    if (live_ <= timeline_.peak_bytes) return;
    timeline_.peak_bytes = live_;
    timeline_.peak_index = change.index;
  }

  const std::vector<Instruction>& list_;
  RankTimeline& timeline_;
  Bytes live_ = 0;
  std::vector<Stream> streams_ = std::vector<Stream>(2 * static_cast<size_t>(Lane::kCount));
};

}  // namespace

Timeline simulate(const Program& program, const Readiness& rule, const ProgramCosts& costs) {
  Timeline timeline;
  for (const RankProgram& rank : program.ranks) {
    timeline.ranks.push_back({rank.rank, 0, -1, {}});
    timeline.ranks.back().events.resize(rank.instructions.size());
  }
  place_events(program, rule, costs, &timeline);
  EffectBytes bytes(program);
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    MemoryCount(program, at, &bytes, &timeline.ranks[at]).run();
  }
  return timeline;
}

}  // namespace shardwright
