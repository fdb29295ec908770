#include "planner/schedule/list_schedule.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int64_t kNever = -1;

class ListSchedule {
 public:
  // `fixed`: forwards and gradients of inputs keep this order; null: they are chosen.
  ListSchedule(const ScheduleShape& shape, const PassTimes& times, const Preference& preference,
               const std::vector<std::vector<Slot>>* fixed)
      : shape_(shape),
        times_(times),
        preference_(preference),
        placement_(shape.placement()),
        arrives_(static_cast<size_t>(2 * shape.chunks()) * shape.microbatches, kNever),
        lines_(shape.stages) {
    std::fill_n(arrives_.begin(), shape.microbatches, 0);  // forward of chunk 0
    for (int stage = 0; stage < shape.stages; ++stage) {
      Line& line = lines_[stage];
      line.forwards.assign(shape.virtual_stages, 0);
      line.gradients.assign(shape.virtual_stages, 0);
      for (int k = 0; k < shape.virtual_stages; ++k) {
        const ChunkUnits& units = times.chunks[chunk_of(stage, k)];
        const int64_t each = units.forward + units.backward_input + units.backward_weight;
        line.left += shape.microbatches * each;
      }
      line.order.reserve(3 * static_cast<size_t>(shape.microbatches) * shape.virtual_stages);
      if (fixed != nullptr) {
        for (const Slot& slot : (*fixed)[stage]) {
          if (slot.kind != Slot::kBackwardWeight) line.fixed.push_back(slot);
        }
      }
      wake(0, stage);
    }
    fixed_ = fixed != nullptr;
  }

  std::vector<std::vector<Slot>> run() {
    while (!events_.empty()) {
      const auto [now, stage] = events_.top();
      events_.pop();
      if (lines_[stage].free_at > now) continue;
      if (now + lines_[stage].left >= preference_.before) return {};
      act(stage, now);
    }
    std::vector<std::vector<Slot>> orders;
    for (Line& line : lines_) {
      SW_CHECK_EQ(line.order.size(),
                  3 * static_cast<size_t>(shape_.microbatches) * shape_.virtual_stages,
                  "passes of a stage in list scheduling");
      orders.push_back(std::move(line.order));
    }
    return orders;
  }

 private:
  struct Line {
    int64_t free_at = 0, held = 0;
    int64_t left = 0;                      // time of the passes that it has not started
    std::vector<int> forwards, gradients;  // by chunk: done so far, microbatches in order
    std::vector<Slot> fixed, waiting;      // waiting: gradients of weights, from `weights` on
    size_t next = 0, weights = 0;          // next: of fixed
    bool forward_last = false;
    std::vector<Slot> order;
  };

  void wake(int64_t when, int stage) { events_.emplace(when, stage); }
  int chunk_of(int stage, int k) const {
    return static_cast<int>(placement_.chunk_of_stage(stage, k));
  }
  int64_t& arrives(int chunk, bool gradient, int microbatch) {
    return arrives_[static_cast<size_t>(2 * chunk + (gradient ? 1 : 0)) * shape_.microbatches +
                    microbatch];
  }
  int64_t arrival(int stage, const Slot& slot) {
    return arrives(chunk_of(stage, slot.chunk), slot.kind != Slot::kForward, slot.microbatch);
  }
  // Every later chunk keeps a place free from the chunks before it: a microbatch that is further on
  // can then always go on, and the one that is furthest frees its places again.
  bool has_room(const Line& line, int k) const {
    const int kept = fixed_ ? 0 : shape_.virtual_stages - 1 - k;
    return line.held + kept < preference_.held;
  }

  // What the stage starts now, if anything. Arrivals are known when the pass that sends starts;
  // `soon` is the first one to come of what else may run.
  void act(int stage, int64_t now) {
    Line& line = lines_[stage];
    Slot chosen;
    int64_t soon = kNever;
    const bool found =
        fixed_ ? next_fixed(stage, now, &chosen, &soon) : choose(stage, now, &chosen, &soon);
    if (found) {
      start(stage, chosen, now);
    } else if (line.weights < line.waiting.size()) {
      const Slot& weight = line.waiting[line.weights];
      const int64_t takes = time_of(stage, weight);
      const bool waits =
          soon != kNever && (now + takes - soon) * 100 > takes * preference_.patience_pct;
      if (!waits) start(stage, Slot(weight), now);
    }
  }
  bool next_fixed(int stage, int64_t now, Slot* chosen, int64_t* soon) {
    const Line& line = lines_[stage];
    if (line.next == line.fixed.size()) return false;
    return consider(stage, line.fixed[line.next], now, chosen, soon);
  }
  bool choose(int stage, int64_t now, Slot* chosen, int64_t* soon) {
    const bool backward_first =
        preference_.order == Preference::kBackwardFirst ||
        (preference_.order == Preference::kInTurn && lines_[stage].forward_last);
    for (const bool gradient : {backward_first, !backward_first}) {
      if (gradient ? choose_gradient(stage, now, chosen, soon)
                   : choose_forward(stage, now, chosen, soon)) {
        return true;
      }
    }
    return false;
  }
  bool choose_forward(int stage, int64_t now, Slot* chosen, int64_t* soon) {
    const int v = shape_.virtual_stages;
    for (int i = 0; i < v; ++i) {
      const int k = preference_.late_chunks_first ? v - 1 - i : i;
      const int microbatch = lines_[stage].forwards[k];
      if (microbatch == shape_.microbatches) continue;
      if (consider(stage, {Slot::kForward, microbatch, k}, now, chosen, soon)) return true;
    }
    return false;
  }
  // The oldest microbatch first: it holds its place longest.
  bool choose_gradient(int stage, int64_t now, Slot* chosen, int64_t* soon) {
    bool found = false;
    for (int k = shape_.virtual_stages - 1; k >= 0; --k) {
      const int microbatch = lines_[stage].gradients[k];
      if (microbatch == shape_.microbatches) continue;
      Slot one;
      if (!consider(stage, {Slot::kBackwardInput, microbatch, k}, now, &one, soon)) continue;
      if (!found || one.microbatch < chosen->microbatch) *chosen = one;
      found = true;
    }
    return found;
  }
  // Whether a pass may run now.
  bool consider(int stage, const Slot& slot, int64_t now, Slot* chosen, int64_t* soon) {
    if (slot.kind == Slot::kForward && !has_room(lines_[stage], slot.chunk)) return false;
    const int64_t when = arrival(stage, slot);
    if (when == kNever) return false;
    if (when > now) {
      if (*soon == kNever || when < *soon) *soon = when;
      return false;
    }
    *chosen = slot;
    return true;
  }

  int64_t time_of(int stage, const Slot& slot) const {
    const ChunkUnits& units = times_.chunks[chunk_of(stage, slot.chunk)];
    return slot.kind == Slot::kForward         ? units.forward
           : slot.kind == Slot::kBackwardInput ? units.backward_input
                                               : units.backward_weight;
  }
  void start(int stage, const Slot& slot, int64_t now) {
    Line& line = lines_[stage];
    line.order.push_back(slot);
    const int64_t takes = time_of(stage, slot);
    line.free_at = now + takes;
    line.left -= takes;
    wake(line.free_at, stage);
    if (slot.kind == Slot::kBackwardWeight) {
      ++line.weights;
      --line.held;
      return;
    }
    line.forward_last = slot.kind == Slot::kForward;
    if (fixed_) ++line.next;
    const int chunk = chunk_of(stage, slot.chunk), last = shape_.chunks() - 1;
    if (slot.kind == Slot::kForward) {
      ++line.held;
      ++line.forwards[slot.chunk];
      send(chunk == last ? last : chunk + 1, chunk == last, slot.microbatch, line.free_at);
    } else {
      ++line.gradients[slot.chunk];
      line.waiting.push_back({Slot::kBackwardWeight, slot.microbatch, slot.chunk});
      if (chunk > 0) send(chunk - 1, true, slot.microbatch, line.free_at);
    }
  }
  void send(int chunk, bool gradient, int microbatch, int64_t when) {
    arrives(chunk, gradient, microbatch) = when;
    const int stage = static_cast<int>(placement_.stage_of_chunk(chunk));
    if (lines_[stage].free_at < when) wake(when, stage);  // otherwise it looks when it is free
  }

  const ScheduleShape& shape_;
  const PassTimes& times_;
  const Preference preference_;
  const Placement placement_;
  bool fixed_ = false;
  std::vector<int64_t> arrives_;  // [chunks, forward or gradient, microbatches]: of its input
  std::vector<Line> lines_;
  // Of the same time the first stage first, so that the same times give the same orders.
  using Event = std::pair<int64_t, int>;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

std::vector<std::vector<Slot>> list_schedule(const ScheduleShape& shape, const PassTimes& times,
                                             const Preference& preference) {
  return ListSchedule(shape, times, preference, nullptr).run();
}

std::vector<std::vector<Slot>> move_weights(const ScheduleShape& shape,
                                            const std::vector<std::vector<Slot>>& orders,
                                            const PassTimes& times, const Preference& preference) {
  return ListSchedule(shape, times, preference, &orders).run();
}

}  // namespace shardwright
