// The Chrome trace event format: "X" complete events in microseconds, "M" metadata for names.
#include <nlohmann/json.hpp>

#include "planner/program/timeline.h"

namespace shardwright {
namespace {

constexpr int kLanes = static_cast<int>(Lane::kCount);

Json metadata(const char* what, int process, int thread, const std::string& name) {
  return {
      {"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

Json slice(const std::string& name, const char* category, int process, int thread,
           Nanoseconds start, Nanoseconds duration) {
  return {{"ph", "X"},
          {"name", name},
          {"cat", category},
          {"pid", process},
          {"tid", thread},
          {"ts", static_cast<double>(start) / 1e3},
          {"dur", static_cast<double>(duration) / 1e3}};
}

void add_rank(const Program& program, const StepTable& table, int at, const RankTimeline& timeline,
              int process, Json* events) {
  const RankProgram& rank = program.ranks[at];
  std::vector<bool> named(kLanes, false);
  for (size_t i = 0; i < timeline.events.size(); ++i) {
    const Instruction& instruction = rank.instructions[i];
    const EventTime& event = timeline.events[i];
    const int lane = static_cast<int>(instruction.lane);
    const int thread = rank.rank * kLanes + lane;
    if (!named[lane]) {
      named[lane] = true;
      events->push_back(
          metadata("thread_name", process, thread,
                   "rank " + std::to_string(rank.rank) + " " + name_of(instruction.lane)));
    }
    events->push_back(slice(label_of(instruction), "instruction", process, thread, event.start,
                            event.duration()));
    const std::vector<Step>& steps = table.steps(instruction);
    Nanoseconds at_ns = event.start;
    for (size_t k = 0; k < event.steps.size() && k < steps.size(); ++k) {
      events->push_back(slice(kind_of(steps[k]), "step", process, thread, at_ns, event.steps[k]));
      at_ns += event.steps[k];
    }
  }
}

}  // namespace

Json trace_of(const Program& program, const StepTable& table,
              const std::vector<NamedTimeline>& timelines) {
  Json events = Json::array();
  for (size_t process = 0; process < timelines.size(); ++process) {
    const int pid = static_cast<int>(process);
    events.push_back(metadata("process_name", pid, 0, timelines[process].name));
    for (size_t at = 0; at < program.ranks.size(); ++at) {
      add_rank(program, table, static_cast<int>(at), timelines[process].timeline->ranks[at], pid,
               &events);
    }
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace shardwright
