#include "planner/simulate.h"

#include <algorithm>
#include <tuple>

#include "costmodel/check.h"
#include "planner/program/buffers.h"

namespace shardwright {
namespace {

void place_events(const Program& program, const Readiness& rule, const ProgramCosts& costs,
                  Timeline* timeline) {
  const auto stuck = rule.walk([&](std::span<const Ref> unit) {
    // Members of a unit start together, when the last of them is ready.
    Nanoseconds start = 0;
    for (Ref ref : unit) {
      rule.for_each_before(ref, [&](Ref before) {
        start = std::max(start, timeline->ranks[before.at].events[before.index].end);
      });
    }
    Nanoseconds duration = 0;
    for (Ref ref : unit) duration = std::max(duration, costs.instruction[ref.at][ref.index]);
    for (Ref ref : unit) {
      EventTime& event = timeline->ranks[ref.at].events[ref.index];
      event.start = start;
      event.end = start + duration;
      if (!costs.steps.empty()) event.steps = costs.steps[ref.at][ref.index];
    }
  });
  SW_CHECK(stuck.empty(), label_of(instruction_at(program, stuck.front()))
                              << " of rank " << program.ranks[stuck.front().at].rank
                              << " can never start");
}

// The running sum of live buffers over simulated time. At equal times buffers are freed before
// others are made, as a finished instruction gives back before the next one starts.
void count_memory(const Program& program, int at, RankTimeline* timeline) {
  const RankProgram& rank = program.ranks[at];
  std::vector<std::tuple<Nanoseconds, int, int, Bytes>> changes;  // time, frees first, index, bytes
  for (int i = 0; i < static_cast<int>(rank.instructions.size()); ++i) {
    const Effects effects = effects_of(program, rank.instructions[i]);
    const EventTime& event = timeline->events[i];
    for (const Buffer& b : effects.allocates) {
      changes.emplace_back(event.start, 1, i, bytes_of(program, b));
    }
    for (const Buffer& b : effects.frees) {
      // An instruction of no duration still holds its buffers while it runs.
      const bool instant = event.end == event.start;
      changes.emplace_back(event.end, instant ? 2 : 0, i, -bytes_of(program, b));
    }
  }
  std::sort(changes.begin(), changes.end());
  Bytes live = resident_bytes(program, rank);
  timeline->peak_bytes = live;
  for (const auto& [time, order, index, bytes] : changes) {
    live += bytes;
    if (live <= timeline->peak_bytes) continue;
    timeline->peak_bytes = live;
    timeline->peak_index = index;
  }
}

}  // namespace

Timeline simulate(const Program& program, const Readiness& rule, const ProgramCosts& costs) {
  Timeline timeline;
  for (const RankProgram& rank : program.ranks) {
    timeline.ranks.push_back({rank.rank, 0, -1, {}});
    timeline.ranks.back().events.resize(rank.instructions.size());
  }
  place_events(program, rule, costs, &timeline);
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    count_memory(program, at, &timeline.ranks[at]);
  }
  return timeline;
}

}  // namespace shardwright
