#include "executor/run/recorder.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "costmodel/check.h"

namespace shardwright {
namespace {

// Beside activations (0) and gradients (1): whole numbers carried as pairs of floats' bits.
constexpr int kReportChannel = 2;
constexpr int64_t kFloatsPerInt = sizeof(int64_t) / sizeof(float);

using Ints = std::vector<int64_t>;

void send_ints(Communicator& comm, const Ints& values, int peer) {
  const auto floats_of = [](const Ints& from) {
    std::vector<float> floats(from.size() * kFloatsPerInt);
    std::memcpy(floats.data(), from.data(), from.size() * sizeof(int64_t));
    return floats;
  };
  const std::vector<float> size = floats_of({static_cast<int64_t>(values.size())});
  const std::vector<float> body = floats_of(values);
  comm.send(size.data(), static_cast<int64_t>(size.size()), peer, kReportChannel);
  comm.send(body.data(), static_cast<int64_t>(body.size()), peer, kReportChannel);
}

Ints receive_ints(Communicator& comm, int peer) {
  const auto take = [&](int64_t count) {
    std::vector<float> floats(count * kFloatsPerInt);
    comm.receive(floats.data(), static_cast<int64_t>(floats.size()), peer, kReportChannel);
    Ints values(count);
    std::memcpy(values.data(), floats.data(), values.size() * sizeof(int64_t));
    return values;
  };
  return take(take(1)[0]);
}

// peak_bytes, peak_index, then per step and event: start, end, number of steps, their durations.
Ints pack(const std::vector<std::vector<EventTime>>& steps, Bytes peak_bytes, int peak_index) {
  Ints out = {peak_bytes, peak_index};
  for (const auto& events : steps) {
    for (const EventTime& event : events) {
      out.insert(out.end(), {event.start, event.end, static_cast<int64_t>(event.steps.size())});
      out.insert(out.end(), event.steps.begin(), event.steps.end());
    }
  }
  return out;
}

struct RankRecord {
  Bytes peak_bytes = 0;
  int peak_index = -1;
  std::vector<std::vector<EventTime>> steps;
};

RankRecord unpack(const Ints& in, size_t events) {
  RankRecord record{in.at(0), static_cast<int>(in.at(1)), {}};
  size_t at = 2;
  while (at < in.size()) {
    record.steps.emplace_back(events);
    for (EventTime& event : record.steps.back()) {
      event.start = in.at(at);
      event.end = in.at(at + 1);
      const int64_t count = in.at(at + 2);
      at += 3;
      event.steps.assign(in.begin() + at, in.begin() + at + count);
      at += count;
    }
  }
  return record;
}

int64_t median(Ints& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Training steps of which single Steps were timed, where that costs something: their Steps' times
// count, and those of whole instructions only when there are no others.
std::vector<bool> detailed_steps(const std::vector<std::vector<EventTime>>& steps) {
  std::vector<bool> detailed;
  for (const auto& events : steps) {
    detailed.push_back(std::any_of(events.begin(), events.end(),
                                   [](const EventTime& e) { return !e.steps.empty(); }));
  }
  return detailed;
}

EventTime median_event(const std::vector<std::vector<EventTime>>& steps, size_t index,
                       const std::vector<bool>& detailed, const Ints& origins) {
  const bool all = std::find(detailed.begin(), detailed.end(), false) == detailed.end();
  EventTime out;
  const auto over_steps = [&](bool with_detail, auto&& get) {
    Ints values;
    for (size_t s = 0; s < steps.size(); ++s) {
      if (all || detailed[s] == with_detail) values.push_back(get(steps[s][index], s));
    }
    return median(values);
  };
  out.start = over_steps(false, [&](const EventTime& e, size_t s) { return e.start - origins[s]; });
  out.end = over_steps(false, [&](const EventTime& e, size_t s) { return e.end - origins[s]; });
  const auto first = std::find(detailed.begin(), detailed.end(), true);
  if (first == detailed.end()) return out;
  for (size_t k = 0; k < steps[first - detailed.begin()][index].steps.size(); ++k) {
    out.steps.push_back(over_steps(true, [&](const EventTime& e, size_t) { return e.steps[k]; }));
  }
  return out;
}

}  // namespace

void Recorder::gather(const Program& program, Communicator& comm, Bytes peak_bytes, int peak_index,
                      Timeline* timeline, std::vector<Nanoseconds>* makespans) const {
  const Ints mine = pack(steps_, peak_bytes, peak_index);
  if (comm.rank() != 0) return send_ints(comm.host(), mine, 0);
  std::vector<RankRecord> records;
  for (const RankProgram& rank : program.ranks) {
    const Ints theirs = rank.rank == 0 ? mine : receive_ints(comm.host(), rank.rank);
    records.push_back(unpack(theirs, rank.instructions.size()));
    SW_CHECK_EQ(records.back().steps.size(), steps_.size(), "steps recorded by rank " << rank.rank);
  }
  Ints origins(steps_.size(), std::numeric_limits<int64_t>::max());
  Ints ends(steps_.size(), 0);
  for (const RankRecord& record : records) {
    for (size_t s = 0; s < record.steps.size(); ++s) {
      for (const EventTime& event : record.steps[s]) {
        origins[s] = std::min(origins[s], event.start);
        ends[s] = std::max(ends[s], event.end);
      }
    }
  }
  const std::vector<bool> detailed = detailed_steps(steps_);
  const bool all = std::find(detailed.begin(), detailed.end(), false) == detailed.end();
  makespans->clear();
  for (size_t s = 0; s < origins.size(); ++s) {
    if (all || !detailed[s]) makespans->push_back(ends[s] - origins[s]);
  }
  timeline->ranks.clear();
  for (size_t at = 0; at < records.size(); ++at) {
    RankTimeline rank{program.ranks[at].rank, records[at].peak_bytes, records[at].peak_index, {}};
    for (size_t i = 0; !steps_.empty() && i < program.ranks[at].instructions.size(); ++i) {
      rank.events.push_back(median_event(records[at].steps, i, detailed, origins));
    }
    timeline->ranks.push_back(std::move(rank));
  }
}

}  // namespace shardwright
