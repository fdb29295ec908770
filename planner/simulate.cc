#include "planner/simulate.h"

#include <algorithm>
#include <vector>

#include "costmodel/check.h"
#include "planner/peak_memory.h"

namespace shardwright {
namespace {

// Gives every event of a unit its time, from those before it.
class Clock {
 public:
  Clock(const Readiness& rule, const ProgramCosts& costs, Timeline* timeline) : rule_(rule) {
    for (size_t at = 0; at < timeline->ranks.size(); ++at) {
      ranks_.push_back({timeline->ranks[at].events.data(), costs.instruction[at].data()});
    }
  }
  template <size_t kSize>
  void operator()(std::span<const Ref, kSize> unit) const {
    // Members of a unit start together, when the last of them is ready.
    Nanoseconds start = 0, duration = 0;
    for (Ref ref : unit) {
      rule_.for_each_before(ref, [&](Ref before) {
        start = std::max(start, ranks_[before.at].events[before.index].end);
      });
      duration = std::max(duration, ranks_[ref.at].costs[ref.index]);
    }
    for (Ref ref : unit) {
      EventTime& event = ranks_[ref.at].events[ref.index];
      __builtin_prefetch(&event + Readiness::kFetchAhead, 1);
      __builtin_prefetch(ranks_[ref.at].costs + ref.index + Readiness::kFetchAhead);
      event.start = start;
      event.end = start + duration;
    }
  }

 private:
  struct Rank {
    EventTime* events;
    const Nanoseconds* costs;
  };
  const Readiness& rule_;
  std::vector<Rank> ranks_;  // by position
};

void place_events(const Program& program, const Readiness& rule, const ProgramCosts& costs,
                  Timeline* timeline) {
  const Clock clock(rule, costs, timeline);
  if (rule.walk_lists(clock)) return;
  const std::vector<Ref> stuck = rule.walk(clock);
  SW_CHECK(stuck.empty(), label_of(instruction_at(program, stuck.front()))
                              << " of rank " << program.ranks[stuck.front().at].rank
                              << " can never start");
}

}  // namespace

Timeline simulate(const Program& program, const Readiness& rule, const ProgramCosts& costs) {
  Timeline timeline;
  for (const RankProgram& rank : program.ranks) {
    timeline.ranks.push_back({rank.rank, 0, -1, {}});
    timeline.ranks.back().events.resize(rank.instructions.size());
  }
  place_events(program, rule, costs, &timeline);
  PeakMemory memory(program, rule);
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    RankTimeline& rank = timeline.ranks[at];
    memory.count(at, &rank);
    for (size_t i = 0; i < rank.events.size() && !costs.steps.empty(); ++i) {
      rank.events[i].steps.assign(costs.steps[at][i].begin(), costs.steps[at][i].end());
    }
  }
  return timeline;
}

}  // namespace shardwright
