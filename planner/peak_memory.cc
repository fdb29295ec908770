#include "planner/peak_memory.h"

#include <algorithm>
#include <limits>

#include "planner/program/buffers.h"

namespace shardwright {
namespace {

constexpr size_t kKinds = static_cast<size_t>(OpCode::kCount) * static_cast<size_t>(Lane::kCount);
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

}  // namespace

PeakMemory::PeakMemory(const Program& program, const Readiness& rule)
    : program_(program), rule_(rule), kinds_((program.chunks.size() + 1) * kKinds) {
  for (const RankProgram& rank : program.ranks) {
    room_ = std::max(room_, 2 * rank.instructions.size() + 1);
  }
  changes_ = std::make_unique_for_overwrite<Change[]>(2 * kLanes * room_);
}

void PeakMemory::count(int at, RankTimeline* timeline) {
  note_changes(at, timeline->events);
  Running running;
  running.live = running.peak = resident_bytes(program_, chunks_);
  merge(&running);
  timeline->peak_bytes = running.peak;
  timeline->peak_index = running.peak_index;
}

// The first of its kind on the rank.
void PeakMemory::meet(int at, int index, Kind* kind) {
  const Instruction& next = program_.ranks[at].instructions[index];
  const bool known = kind->met_by >= 0;
  kind->met_by = at;
  if (next.chunk >= 0 && std::find(chunks_.begin(), chunks_.end(), next.chunk) == chunks_.end()) {
    chunks_.push_back(next.chunk);
  }
  if (known) return;
  const Effects effects = effects_of(program_, next);
  for (const Buffer& b : effects.allocates) kind->made += bytes_of(program_, b);
  for (const Buffer& b : effects.frees) kind->freed += bytes_of(program_, b);
  kind->lane = static_cast<int>(next.lane);
}

void PeakMemory::note_changes(int at, const std::vector<EventTime>& events) {
  const std::span<const int> kinds = rule_.kinds(at);
  chunks_.clear();
  for (size_t s = 0; s < ends_.size(); ++s) ends_[s] = changes_.get() + s * room_;
  for (int i = 0; i < static_cast<int>(kinds.size()); ++i) {
    Kind& kind = kinds_[kinds[i]];
    if (kind.met_by != at) meet(at, i, &kind);
    const int stream = 2 * kind.lane;
    const EventTime& event = events[i];
    if (kind.made > 0) *ends_[stream]++ = {4 * event.start + kMade, i, kinds[i]};
    if (kind.freed == 0) continue;
    // What ends at once frees only after others that start at the same time have made theirs.
    const int at_once = event.end == event.start ? 1 : 0;
    *ends_[stream + at_once]++ = {4 * event.end + (at_once ? kFreedAtOnce : kFreed), i, ~kinds[i]};
  }
  for (Change* end : ends_) end->moment = kNever;
}

// Most changes are those of one lane; the few others in between are merged beside it.
void PeakMemory::merge(Running* running) {
  std::array<Stream, 2 * kLanes> streams;  // the longest last
  size_t count = 0;
  for (size_t s = 0; s < ends_.size(); ++s) {
    const Change* const begin = changes_.get() + s * room_;
    if (begin != ends_[s]) streams[count++] = {begin, ends_[s], begin};
  }
  if (count == 0) return;
  const auto longest = std::max_element(
      streams.begin(), streams.begin() + count,
      [](const Stream& a, const Stream& b) { return a.end - a.begin < b.end - b.begin; });
  std::swap(*longest, streams[count - 1]);
  Stream& base = streams[count - 1];
  const auto apply = [&](Stream* stream) {
    const Change& change = *stream->next++;
    running->live += change.kind >= 0 ? kinds_[change.kind].made : -kinds_[~change.kind].freed;
    if (running->live <= running->peak) return;
    running->peak = running->live;
    running->peak_index = latest(streams.data(), count, change.moment);
  };
  while (true) {
    Stream* first = &base;
    int64_t moment = kNever;
    for (size_t s = 0; s + 1 < count; ++s) {
      const int64_t other = streams[s].next->moment;
      first = other < moment ? &streams[s] : first;
      moment = std::min(moment, other);
    }
    while (base.next->moment < moment) apply(&base);
    if (moment == kNever) return;
    apply(first);
  }
}

// The last instruction in the list of those so far that change something at the moment.
int PeakMemory::latest(const Stream* streams, size_t count, int64_t moment) const {
  int index = -1;
  for (size_t s = 0; s < count; ++s) {
    for (const Change* change = streams[s].next; change-- != streams[s].begin;) {
      if (change->moment != moment) break;
      index = std::max(index, change->index);
    }
  }
  return index;
}

}  // namespace shardwright
