// Every bound follows a path through passes that must come one after the other, because of their
// order on a stage or because one needs what the other made. A stage's work is on it once; what is
// added is where the stage must wait:
//
//   start    before its first forward a microbatch has come down to it
//   first    its first backward is of its last chunk: from its first forward the microbatch has to
//            go down the rest of the model and back, during which the stage has only so many
//            forwards to do
//   second   its last forward is of its last chunk and last microbatch: the gradient has to come
//            back to the stage's first chunk, during which it has only so many backwards to do
//   end      after its last gradient of inputs the stages before it have theirs to do
//
// The same of the wires on which stages send, where messages take longer than passes.
#include "planner/schedule/bound.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/schedule/edges.h"

namespace shardwright {
namespace {

class Bound {
 public:
  Bound(const ScheduleShape& shape, const PassTimes& times)
      : shape_(shape),
        times_(times),
        v_shaped_(is_v_shaped(shape.kind, shape.virtual_stages)),
        split_(splits_backward(shape.kind)),
        chunks_(shape.chunks()),
        passes_(chunks_),
        edges_(shape.virtual_stages) {
    SW_CHECK_EQ(times.chunks.size(), static_cast<size_t>(chunks_), "times of chunks");
    for (int c = 0; c < chunks_; ++c) {
      const ChunkUnits& ns = times.chunks[c];
      Pass& pass = passes_[c];
      pass.forward = ns.forward;
      pass.backward = ns.backward_input + (split_ ? 0 : ns.backward_weight);
      pass.weight = ns.backward_weight;
      if (c == 0) continue;
      pass.down = passes_[c - 1].down + passes_[c - 1].forward + message(c - 1);
      pass.up = passes_[c - 1].up + passes_[c - 1].backward + message(c - 1);
    }
  }

  int64_t ns() {
    const bool phases =
        shape_.kind == ScheduleKind::kGPipe || shape_.kind == ScheduleKind::kBreadthFirst;
    if (phases) return phases_ns();
    const Pass& last = passes_.back();
    return std::max({alternating_ns(), wire_down_ns() + last.up + last.backward,
                     last.down + last.forward + wire_up_ns()});
  }

 private:
  // Of a chunk. backward: what the chunk before it waits for, without the gradient of weights when
  // that is a pass of its own. down: before its first forward can start; up: after its backward
  // until chunk 0's is done.
  struct Pass {
    int64_t forward = 0, backward = 0, weight = 0, down = 0, up = 0;
  };

  int64_t message(int c) const {
    const bool here = shape_.stages == 1 || (v_shaped_ && c + 1 == shape_.stages);
    return here || times_.message_ns.empty() ? 0 : times_.message_ns[c];
  }
  const Pass& pass(int stage, int k) const { return passes_[chunk(stage, k)]; }
  int chunk(int stage, int k) const {
    return v_shaped_ && k == 1 ? chunks_ - 1 - stage : stage + k * shape_.stages;
  }
  // From the end of a microbatch's forward at one chunk to the start of its backward at another.
  int64_t around(const Pass& from, const Pass& to) const {
    const Pass& last = passes_.back();
    return last.down + last.forward - from.down - from.forward +  //
           last.up + last.backward - to.up - to.backward;
  }

  // GPipe and breadth-first: the last stage's forwards of the last chunk all come before its
  // backwards, so that one phase starts when the other has ended. In a phase a stage does all
  // microbatches of a chunk, then of the next one, which cannot start before a microbatch has come
  // around; from the last pass of its last chunk the microbatch still has to get to the end of the
  // model. Backwards are the same in reversed time.
  int64_t phases_ns() const {
    int64_t forwards = 0, backwards = 0;
    for (int stage = 0; stage < shape_.stages; ++stage) {
      forwards = std::max(forwards, phase_ns(stage, &Pass::down, &Pass::forward));
      backwards = std::max(backwards, phase_ns(stage, &Pass::up, &Pass::backward));
    }
    return std::max(forwards, wire_down_ns()) + std::max(backwards, wire_up_ns());
  }
  int64_t phase_ns(int stage, int64_t Pass::*before, int64_t Pass::*time) const {
    const int v = shape_.virtual_stages;
    int64_t ns = pass(stage, 0).*before;
    for (int k = 0; k < v; ++k) {
      const int64_t work = shape_.microbatches * (pass(stage, k).*time);
      const int64_t next =
          k + 1 < v ? pass(stage, k + 1).*before - pass(stage, k).*before : int64_t{0};
      ns += std::max(work, next);
    }
    const Pass &last = passes_.back(), &own = pass(stage, v - 1);
    return ns + last.*before + last.*time - own.*before - own.*time;
  }

  // Activations that a stage sends follow one another, and so do gradients. From the model's first
  // forward to the last chunk's last one; from its first backward to the end.
  int64_t wire_down_ns() const {
    const Pass& last = passes_.back();
    return wires_ns([&](int c, Wire* wire) {
      if (c + 1 == chunks_ || message(c) == 0) return;
      wire->add(passes_[c].down + passes_[c].forward, shape_.microbatches * message(c),
                last.down + last.forward - passes_[c + 1].down);
    });
  }
  int64_t wire_up_ns() const {
    const Pass& last = passes_.back();
    return wires_ns([&](int c, Wire* wire) {
      if (c == 0 || message(c - 1) == 0) return;
      wire->add(last.up + last.backward - passes_[c].up, shape_.microbatches * message(c - 1),
                passes_[c - 1].up + passes_[c - 1].backward);
    });
  }
  struct Wire {
    int64_t before = 0, busy = 0, after = 0;
    void add(int64_t earliest, int64_t sending, int64_t least_after) {
      before = busy == 0 ? earliest : std::min(before, earliest);
      after = busy == 0 ? least_after : std::min(after, least_after);
      busy += sending;
    }
  };
  template <typename Add>
  int64_t wires_ns(const Add& add) const {
    int64_t most = 0;
    for (int stage = 0; stage < shape_.stages; ++stage) {
      Wire wire;
      for (int k = 0; k < shape_.virtual_stages; ++k) add(chunk(stage, k), &wire);
      most = std::max(most, wire.before + wire.busy + wire.after);
    }
    return most;
  }

  // `last`: no earlier than this ends the last gradient of inputs of the stage at hand, which waits
  // for that of the stage below.
  int64_t alternating_ns() {
    int64_t most = 0, last = 0;
    for (int stage = shape_.stages - 1; stage >= 0; --stage) {
      const Pass& first = pass(stage, 0);
      const Ends ends = ends_of(stage);
      const int64_t own = first.down + ends.until_last_input;
      if (stage + 1 < shape_.stages) last += message(stage) + first.backward;
      last = std::max(last, own);
      most = std::max({most, own + ends.left, last + ends.least_left});
    }
    return most;
  }

  // Of a stage from its first forward on. `left`: gradients of weights after its last gradient of
  // inputs, at most when they are not known; `least_left`: at least.
  struct Ends {
    int64_t until_last_input = 0, left = 0, least_left = 0;
  };
  Ends ends_of(int stage) {
    const StageEdges edges = stage_edges(shape_, stage, edges_.data());
    const Pass &first = pass(stage, 0), &last = pass(stage, shape_.virtual_stages - 1);
    int64_t before = 0, after = 0, filling = 0, work = 0;
    Ends ends;
    for (int k = 0; k < shape_.virtual_stages; ++k) {
      const Pass& own = pass(stage, k);
      before += edges_[k].before * own.forward;
      after += edges_[k].after * own.backward;
      filling += edges_[k].filling * own.weight;
      ends.left += edges_[k].left * own.weight;
      work += shape_.microbatches * (own.forward + own.backward + (split_ ? own.weight : 0));
    }
    ends.least_left = ends.left;
    if (edges.most_held > 0) {
      ends.left = filling = at_most(edges, stage, &Pass::weight);
      ends.least_left = first.weight;
    }
    if (!edges.passes_known) {
      before = at_most(edges, stage, &Pass::forward);
      // Of several chunks any one may have the last forward.
      after = shape_.virtual_stages == 1 ? at_most(edges, stage, &Pass::backward) : work;
    }
    const int64_t one = std::max<int64_t>(0, first.forward + around(first, last) - before);
    const int64_t two =
        std::max<int64_t>(0, around(last, first) + first.backward - after - filling);
    const bool alone = edges.alone || !edges.passes_known;
    ends.until_last_input = work - ends.left + (alone ? std::max(one, two) : one + two);
    if (shape_.virtual_stages == 1 && edges.passes_known) {
      ends.until_last_input = std::max(ends.until_last_input, loops_ns(first));
    }
    return ends;
  }
  // What a stage holds is at most so many forwards, or gradients of weights that are still to come.
  int64_t at_most(const StageEdges& edges, int stage, int64_t Pass::*time) const {
    int64_t longest = 0, all = 0;
    for (int k = 0; k < shape_.virtual_stages; ++k) {
      longest = std::max(longest, pass(stage, k).*time);
      all += shape_.microbatches * (pass(stage, k).*time);
    }
    return std::min(all, edges.most_held * longest);
  }
  // One chunk a stage holds its place for longer than the stage takes for all that are in flight
  // when messages are long: the forward of microbatch j + held waits for the backward of j, and
  // between them lies the whole way around.
  int64_t loops_ns(const Pass& own) const {
    const int held = edges_[0].before, others = shape_.microbatches - 1;
    const int64_t loops = others / held, rest = others % held;
    const int64_t once = own.forward + around(own, own) + own.backward;
    return (loops + 1) * once + rest * (own.forward + (loops > 0 ? own.backward : 0));
  }

  const ScheduleShape& shape_;
  const PassTimes& times_;
  const bool v_shaped_, split_;
  const int chunks_;
  std::vector<Pass> passes_;
  std::vector<ChunkEdges> edges_;  // of the stage at hand
};

}  // namespace

int64_t pipeline_lower_bound_ns(const ScheduleShape& shape, const PassTimes& times) {
  return Bound(shape, times).ns();
}

}  // namespace shardwright
