#include "planner/schedule/bound.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/schedule/held.h"

namespace shardwright {
namespace {

// Sums along the model. b: what a chunk's backward takes before the next chunk may start its own.
class Bound {
 public:
  Bound(const ScheduleShape& shape, const PassTimes& times)
      : shape_(shape), times_(times), placement_(shape.placement()), chunks_(shape.chunks()) {
    SW_CHECK_EQ(times.chunks.size(), static_cast<size_t>(chunks_), "times of chunks");
    down_.resize(chunks_);
    up_.resize(chunks_);
    for (int c = 1; c < chunks_; ++c) {
      down_[c] = down_[c - 1] + forward(c - 1) + message(c - 1);
      up_[c] = up_[c - 1] + backward(c - 1) + message(c - 1);
    }
  }

  int64_t ns() const {
    if (splits_backward(shape_.kind)) return split_ns();
    const bool phases =
        shape_.kind == ScheduleKind::kGPipe || shape_.kind == ScheduleKind::kBreadthFirst;
    return phases ? phases_ns() : alternating_ns();
  }

 private:
  int64_t forward(int chunk) const { return times_.chunks[chunk].forward; }
  int64_t weight(int chunk) const { return times_.chunks[chunk].backward_weight; }
  int64_t backward(int chunk) const {
    const ChunkUnits& ns = times_.chunks[chunk];
    return ns.backward_input + (splits_backward(shape_.kind) ? 0 : ns.backward_weight);
  }
  int64_t message(int chunk) const {
    const bool here = placement_.stage_of_chunk(chunk) == placement_.stage_of_chunk(chunk + 1);
    return here || times_.message_ns.empty() ? 0 : times_.message_ns[chunk];
  }
  int chunk(int stage, int k) const {
    return static_cast<int>(placement_.chunk_of_stage(stage, k));
  }
  // From the end of a microbatch's forward at one chunk to the start of its backward at another.
  int64_t around(int from, int to) const {
    const int last = chunks_ - 1;
    return down_[last] + forward(last) - down_[from] - forward(from) +  //
           up_[last] + backward(last) - up_[to] - backward(to);
  }

  // The last stage's forwards of the last chunk all come before its backwards: two phases in a row.
  int64_t phases_ns() const {
    int64_t forwards = 0, backwards = 0;
    for (int stage = 0; stage < shape_.stages; ++stage) {
      forwards = std::max(forwards, phase_ns(stage, down_, &Bound::forward));
      backwards = std::max(backwards, phase_ns(stage, up_, &Bound::backward));
    }
    return forwards + backwards;
  }
  // All microbatches of chunk 0, then of the next, which cannot start before one has come around;
  // from the last pass of the last chunk on, to the end of the model. Backwards mirror it in time.
  int64_t phase_ns(int stage, const std::vector<int64_t>& before,
                   int64_t (Bound::*pass)(int) const) const {
    int64_t ns = before[stage];
    int last = stage;
    for (int k = 0; k < shape_.virtual_stages; ++k) {
      last = chunk(stage, k);
      const int64_t work = shape_.microbatches * (this->*pass)(last);
      const int next = last + shape_.stages;
      ns += next < chunks_ ? std::max(work, before[next] - before[last]) : work;
    }
    const int end = chunks_ - 1;
    return ns + before[end] + (this->*pass)(end)-before[last] - (this->*pass)(last);
  }

  // 1F1B: what a stage does before its first backward is known, and so is what it does after its
  // last forward; in both it may have to wait for the microbatch to come around.
  int64_t alternating_ns() const {
    int64_t most = 0;
    for (int stage = 0; stage < shape_.stages; ++stage) {
      const Edges e = edges(stage);
      const int64_t steady = e.alone ? std::max(e.first_wait, e.last_wait)  //
                                     : e.first_wait + e.last_wait;
      int64_t span = work(stage) + steady;
      if (shape_.virtual_stages == 1) span = std::max(span, loops_ns(stage));
      most = std::max(most, down_[stage] + span + up_[stage]);
    }
    return most;
  }
  struct Edges {
    int64_t first_wait = 0, last_wait = 0;
    bool alone = false;  // no forward after the first backward: both waits are the same
  };
  Edges edges(int stage) const {
    const int v = shape_.virtual_stages, last = chunk(stage, v - 1);
    int64_t forwards = 0, backwards = 0;
    int held = 0;
    for (int k = 0; k < v; ++k) {
      const int count = in_flight(shape_, stage, k);
      held += count;
      forwards += count * forward(chunk(stage, k));
      backwards += count * backward(chunk(stage, k));
    }
    Edges e;
    e.first_wait = std::max<int64_t>(0, forward(stage) + around(stage, last) - forwards);
    e.last_wait = std::max<int64_t>(0, around(last, stage) + backward(stage) - backwards);
    e.alone = held == shape_.microbatches * v;
    return e;
  }
  // With long messages a microbatch holds its place for longer than the stage takes for all that
  // are in flight: every k-th forward waits for a whole way around.
  int64_t loops_ns(int stage) const {
    const int held = in_flight(shape_, stage, 0);
    const int64_t loops = (shape_.microbatches - 1) / held, rest = (shape_.microbatches - 1) % held;
    const int64_t f = forward(stage), b = backward(stage), way = around(stage, stage);
    const int64_t between = rest * (loops > 0 ? f + b : f);
    return loops * (f + way + b) + between + f + way + b;
  }

  int64_t work(int stage) const {
    int64_t ns = 0;
    for (int k = 0; k < shape_.virtual_stages; ++k) {
      const int c = chunk(stage, k);
      ns += shape_.microbatches * (forward(c) + times_.chunks[c].backward_input + weight(c));
    }
    return ns;
  }

  // Split backward: the last gradient of inputs goes up the stages; after it a stage still has some
  // gradients of weights. Before it, all but those. `last`: no earlier than this it ends.
  int64_t split_ns() const {
    int64_t most = 0, last = 0;
    for (int stage = shape_.stages - 1; stage >= 0; --stage) {
      const int64_t left = weights_left(stage);
      const int64_t own = down_[stage] + work(stage) - left + waits(stage);
      if (stage + 1 < shape_.stages) last += message(stage) + backward(stage);
      last = std::max(last, own);
      // Of an order that is not known, one gradient of weights comes after it, and the others
      // before or after.
      most = std::max(most, last + (known() ? left : weight(stage)));
      most = std::max(most, own + left);
    }
    return most;
  }
  bool known() const {
    return shape_.kind != ScheduleKind::kVHalf && shape_.kind != ScheduleKind::kSynthesised;
  }
  // Gradients of weights after the last gradient of inputs (of chunk 0), in ns: at most that, for
  // an order that is not known.
  int64_t weights_left(int stage) const {
    const int m = shape_.microbatches, below = shape_.stages - stage - 1;
    const auto one = [&](int count) { return std::min(m, count) * weight(stage); };
    const auto both = [&](int first, int second) {
      return one(first) + std::min(m, second) * weight(chunk(stage, 1));
    };
    const int tail = std::max(0, stage + 1 - below);
    switch (shape_.kind) {
      case ScheduleKind::kZbH1:
        return one(stage + 1);
      case ScheduleKind::kZbH2:
        return one(2 * stage + 1);
      case ScheduleKind::kZbV:
        return both(stage + 1, stage);
      case ScheduleKind::kDualPipeV:
        return both(stage + 1 - tail / 2, tail / 2);
      default:
        return shape_.virtual_stages == 2 ? both(m, m) : all_weights(stage);
    }
  }
  int64_t all_weights(int stage) const {
    int64_t ns = 0;
    for (int k = 0; k < shape_.virtual_stages; ++k) ns += weight(chunk(stage, k));
    return ns * shape_.microbatches;
  }
  // ZB-H1 and H2 wait like 1F1B, but gradients of weights may fill the second wait.
  int64_t waits(int stage) const {
    const bool h1 = shape_.kind == ScheduleKind::kZbH1, h2 = shape_.kind == ScheduleKind::kZbH2;
    if (!h1 && !h2) return 0;
    const int m = shape_.microbatches, behind = (h1 ? 1 : 2) * stage;
    const int ahead = std::min(m, (h1 ? 1 : 2) * (shape_.stages - stage - 1) + 1);
    const int64_t way = around(stage, stage);
    const int64_t filled = std::clamp(m - 1 - behind, 0, ahead - 1) * weight(stage);
    const int64_t first = std::max<int64_t>(0, way - (ahead - 1) * forward(stage));
    const int64_t second = std::max<int64_t>(0, way - (ahead - 1) * backward(stage) - filled);
    return ahead == m ? std::max(first, second) : first + second;
  }

  const ScheduleShape& shape_;
  const PassTimes& times_;
  const Placement placement_;
  const int chunks_;
  // Before a chunk's first forward may start; after its backward until chunk 0's is done.
  std::vector<int64_t> down_, up_;
};

}  // namespace

int64_t pipeline_lower_bound_ns(const ScheduleShape& shape, const PassTimes& times) {
  return Bound(shape, times).ns();
}

}  // namespace shardwright
