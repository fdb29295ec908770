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
        most_held_(v_half_held(stages_)),
        stride_(((microbatches_ / 16 + 1) | 1) * 16),
        lines_(shape.stages),
        arrived_(static_cast<size_t>(4 * stages_) * stride_, kNever) {
    std::fill_n(arrived_.begin(), microbatches_, 0);  // forward of chunk 0
    for (int stage = 0; stage < stages_; ++stage) {
      Line& line = lines_[stage];
      connect(stage);
      line.passes = passes(stage);
      line.order.reserve(static_cast<size_t>(kVHalfPeriod) * microbatches_);
      line.waiting.reserve(2 * static_cast<size_t>(microbatches_));
    }
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
  static constexpr int kNever = -1, kNoMore = 1 << 29;
  // One stage: its passes to come, gradients of weights from `weights` on, what it holds.
  struct Line {
    std::vector<Slot> passes, waiting, order;
    size_t next = 0, weights = 0;
    int held = 0;
    std::array<int, kPasses> inputs{}, outputs{};  // rows of arrived_; -1: nobody waits
  };

  // Forwards and gradients of inputs of a stage by their start in the repeated block.
  std::vector<Slot> passes(int stage) const {
    std::array<int, 4> starts = v_half_starts(stage, stages_);
    std::array<int, kPasses> next{};
    std::vector<Slot> out;
    const size_t all = static_cast<size_t>(kPasses) * microbatches_;
    out.reserve(all);
    while (out.size() < all) {
      const auto first = std::min_element(starts.begin(), starts.end()) - starts.begin();
      out.push_back(kBlock[first]);
      out.back().microbatch = next[first]++;
      starts[first] += next[first] < microbatches_ ? kVHalfPeriod : kNoMore;
    }
    return out;
  }

  // One slot of time: the next pass if it may run, else a gradient of weights, else nothing.
  bool step(int stage, int now) {
    Line& line = lines_[stage];
    if (line.next < line.passes.size() && may_run(line, now)) {
      const Slot pass = line.passes[line.next++];
      line.order.push_back(pass);
      if (pass.kind == Slot::kForward) {
        ++line.held;
      } else {
        line.waiting.push_back({Slot::kBackwardWeight, pass.microbatch, pass.chunk});
      }
      const int to = line.outputs[index(pass)];
      if (to >= 0) arrived_[to + pass.microbatch] = now + 1;
      return true;
    }
    if (line.weights == line.waiting.size()) return false;
    line.order.push_back(line.waiting[line.weights++]);
    --line.held;
    return true;
  }
  bool may_run(const Line& line, int now) const {
    const Slot& pass = line.passes[line.next];
    if (pass.kind == Slot::kForward && line.held == most_held_) return false;
    const int arrived = arrived_[line.inputs[index(pass)] + pass.microbatch];
    return arrived != kNever && arrived <= now;
  }
  static int index(const Slot& pass) { return pass.kind + pass.chunk; }  // forwards 0, 1; then 2, 3

  // Where the inputs of a chunk's forward or gradient arrive, from its first microbatch on.
  int row(int chunk, bool gradient) const { return (2 * chunk + (gradient ? 1 : 0)) * stride_; }
  void connect(int stage) {
    const int last = 2 * stages_ - 1;
    for (int k = 0; k < 2; ++k) {
      const int chunk = k == 0 ? stage : last - stage;
      lines_[stage].inputs[k] = row(chunk, false);
      lines_[stage].inputs[2 + k] = row(chunk, true);
      lines_[stage].outputs[k] = chunk == last ? row(last, true) : row(chunk + 1, false);
      lines_[stage].outputs[2 + k] = chunk == 0 ? -1 : row(chunk - 1, true);
    }
  }

  int stages_, microbatches_, most_held_;
  int stride_;  // of rows, an odd number of cache lines: those of a power of two collide
  std::vector<Line> lines_;
  std::vector<int> arrived_;  // [2 chunks, microbatches]: from when the pass may run
  int last_change_ = 0;
};

}  // namespace

std::vector<std::vector<Slot>> v_half_orders(const ScheduleShape& shape) {
  return VHalf(shape).run();
}

}  // namespace shardwright
