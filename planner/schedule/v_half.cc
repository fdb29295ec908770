// V-Half (arXiv 2405.15362): chunks laid down the stages and back up as in ZB-V, but half the
// memory: a building block of one microbatch's passes is repeated every six slots (two forwards,
// two gradients of inputs, two of weights), and how long it holds its activations is how far apart
// its passes lie. From one stage to the next the passes of chunk 0 and 1 advance by 1 and 2 slots,
// so that every stage holds 2 floor((p+2)/2) chunk-microbatches. The bubble is about half of
// 1F1B's as long as W+2B >= 2F and W+2F >= 2B.
//
// The order of forwards and gradients of inputs is the block's, repeated. Gradients of weights fill
// the slots (all taken as equally long) in which a stage would wait, or make room when it is full.
#include <algorithm>
#include <array>

#include "costmodel/check.h"
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

constexpr int kPasses = 4;  // forwards of chunks 0 and 1, then gradients of inputs of 1 and 0
constexpr std::array<Slot, kPasses> kBlock = {{{Slot::kForward, 0, 0},
                                               {Slot::kForward, 0, 1},
                                               {Slot::kBackwardInput, 0, 1},
                                               {Slot::kBackwardInput, 0, 0}}};

}  // namespace

// The waits where the block turns around at the last
// stage, at the first, and at the last again leave the four starts of every stage different modulo
// the period, so that repeated blocks do not collide; which waits do depends on p being even.
std::array<int, 4> v_half_starts(int stage, int stages) {
  const bool even = stages % 2 == 0;
  const int last = stages - 1, turn_down = even ? 4 : 1, turn_up = even ? 5 : 2;
  const int up = last + turn_down;         // the last stage's forward of chunk 1
  const int down = up + 2 * last + 1;      // the first stage's gradient of chunk 1
  const int back = down + last + turn_up;  // the last stage's gradient of chunk 0
  return {stage, up + 2 * (last - stage), down + stage, back + 2 * (last - stage)};
}

int v_half_held(int stages) { return 2 * ((stages + 2) / 2); }

namespace {

class VHalf {
 public:
  explicit VHalf(const ScheduleShape& shape)
      : stages_(shape.stages),
        microbatches_(shape.microbatches),
        lines_(shape.stages),
        arrived_(static_cast<size_t>(4 * shape.stages) * shape.microbatches, kNever) {
    for (int stage = 0; stage < stages_; ++stage) lines_[stage].passes = passes(stage);
  }

  std::vector<std::vector<Slot>> run() {
    size_t left = static_cast<size_t>(kVHalfPeriod) * stages_ * microbatches_;
    for (int now = 0; left > 0; ++now) {
      SW_CHECK(now <= last_change_ + 1, "V-Half stands still");
      for (int stage = 0; stage < stages_; ++stage) {
        if (!step(stage, now)) continue;
        --left;
        last_change_ = now;
      }
    }
    std::vector<std::vector<Slot>> orders;
    for (Line& line : lines_) orders.push_back(std::move(line.order));
    return orders;
  }

 private:
  static constexpr int kNever = -1;
  // One stage: its passes to come, gradients of weights from `weights` on, what it holds.
  struct Line {
    std::vector<Slot> passes, waiting, order;
    size_t next = 0, weights = 0;
    int held = 0;
  };

  // Forwards and gradients of inputs of a stage by their start in the repeated block.
  std::vector<Slot> passes(int stage) const {
    const std::array<int, kPasses> starts = v_half_starts(stage, stages_);
    std::array<int, kPasses> next{};
    std::vector<Slot> out;
    while (out.size() < static_cast<size_t>(kPasses) * microbatches_) {
      int first = -1;
      for (int i = 0; i < kPasses; ++i) {
        if (next[i] == microbatches_) continue;
        if (first < 0 ||
            starts[i] + kVHalfPeriod * next[i] < starts[first] + kVHalfPeriod * next[first]) {
          first = i;
        }
      }
      out.push_back(kBlock[first]);
      out.back().microbatch = next[first]++;
    }
    return out;
  }

  // One slot of time: the next pass if it may run, else a gradient of weights, else nothing.
  bool step(int stage, int now) {
    Line& line = lines_[stage];
    if (line.next < line.passes.size() && may_run(stage, line.passes[line.next], now)) {
      const Slot pass = line.passes[line.next++];
      line.order.push_back(pass);
      if (pass.kind == Slot::kForward) {
        ++line.held;
      } else {
        line.waiting.push_back({Slot::kBackwardWeight, pass.microbatch, pass.chunk});
      }
      send(stage, pass, now + 1);
      return true;
    }
    if (line.weights == line.waiting.size()) return false;
    line.order.push_back(line.waiting[line.weights++]);
    --line.held;
    return true;
  }
  bool may_run(int stage, const Slot& pass, int now) {
    if (pass.kind == Slot::kForward && lines_[stage].held == 2 * ((stages_ + 2) / 2)) return false;
    if (pass.kind == Slot::kForward && stage == 0 && pass.chunk == 0) return true;
    const int arrived = input(chunk(stage, pass), pass.kind, pass.microbatch);
    return arrived != kNever && arrived <= now;
  }
  int chunk(int stage, const Slot& pass) const {
    return pass.chunk == 0 ? stage : 2 * stages_ - 1 - stage;
  }
  // What a pass has made arrives at the pass that needs it.
  void send(int stage, const Slot& pass, int now) {
    const int from = chunk(stage, pass), last = 2 * stages_ - 1;
    if (pass.kind == Slot::kForward) {
      (from == last ? input(last, Slot::kBackwardInput, pass.microbatch)
                    : input(from + 1, Slot::kForward, pass.microbatch)) = now;
    } else if (from > 0) {
      input(from - 1, Slot::kBackwardInput, pass.microbatch) = now;
    }
  }
  int& input(int chunk, Slot::Kind kind, int microbatch) {
    const int row = 2 * chunk + (kind == Slot::kForward ? 0 : 1);
    return arrived_[static_cast<size_t>(row) * microbatches_ + microbatch];
  }

  int stages_, microbatches_;
  std::vector<Line> lines_;
  std::vector<int> arrived_;  // [2 chunks, microbatches]: from when the pass may run
  int last_change_ = 0;
};

}  // namespace

std::vector<std::vector<Slot>> v_half_orders(const ScheduleShape& shape) {
  return VHalf(shape).run();
}

}  // namespace shardwright
