#include "planner/schedule/walk.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {
namespace {

class Walk {
 public:
  Walk(const ScheduleShape& shape, const std::vector<std::vector<Slot>>& orders,
       const PassTimes& times)
      : shape_(shape),
        orders_(orders),
        placement_(shape.placement()),
        chunks_(shape.chunks()),
        ready_ns_(times.ready_ns),
        stride_(row_stride(shape.microbatches)) {
    SW_CHECK_EQ(times.chunks.size(), static_cast<size_t>(chunks_), "times of chunks");
    SW_CHECK(times.message_ns.empty() || times.message_ns.size() + 1 == times.chunks.size(),
             times.message_ns.size() << " messages between " << chunks_ << " chunks");
    arrived_.assign(static_cast<size_t>(2 * chunks_) * stride_, kNever);
    std::fill_n(arrived_.begin(), shape.microbatches, 0);  // forward of chunk 0
    lines_.resize(shape.stages);
    passes_.resize(static_cast<size_t>(chunks_) * 4);
    for (int stage = 0; stage < shape.stages; ++stage) {
      for (int k = 0; k < shape.virtual_stages; ++k) add_passes(times, stage, k);
    }
  }

  ScheduleWalk run() {
    ScheduleWalk out;
    out.stages.resize(shape_.stages);
    for (size_t stage = 0; stage < ready_ns_.size(); ++stage) {
      out.stages[stage].last_end_ns = ready_ns_[stage];
    }
    for (int stage = shape_.stages - 1; stage >= 0; --stage) ready_.push_back(stage);
    while (!ready_.empty()) {
      const int stage = ready_.back();
      ready_.pop_back();
      advance(stage, &out.stages[stage]);
    }
    for (int stage = 0; stage < shape_.stages; ++stage) {
      out.makespan_ns = std::max(out.makespan_ns, out.stages[stage].last_end_ns);
      out.stuck += orders_[stage].size() - lines_[stage].next;
    }
    return out;
  }

 private:
  static constexpr int64_t kNever = -1;
  // An odd number of cache lines of 8: rows of a power of two would all fall into one set.
  static int32_t row_stride(int microbatches) { return ((microbatches / 8 + 1) | 1) * 8; }
  // A pass of a chunk. `input` and `output` are where the rows of arrived_ start; -1: nothing is
  // needed or sent.
  struct Pass {
    int64_t duration_ns = 0, message_ns = 0;
    int32_t input = -1, output = -1;
    int32_t receiver = -1;  // the stage that needs the output, if another one
    int32_t holds = 0;      // chunk-microbatches more on its stage
  };
  struct Line {
    size_t next = 0;
    int32_t waits_for = kNever;  // place in arrived_
    int32_t held = 0;
    int64_t sent_ns[2] = {0, 0};  // when the last activation and the last gradient have arrived
  };

  Pass* passes_of(int stage) {
    return &passes_[static_cast<size_t>(stage) * shape_.virtual_stages * 4];
  }
  int32_t row(int chunk, bool backward) const { return (2 * chunk + (backward ? 1 : 0)) * stride_; }
  void send_to(const PassTimes& times, int stage, int from, int to, bool backward, Pass* pass) {
    pass->output = row(to, backward);
    const int there = static_cast<int>(placement_.stage_of_chunk(to));
    if (there == stage) return;
    pass->receiver = there;
    if (!times.message_ns.empty()) pass->message_ns = times.message_ns[std::min(from, to)];
  }
  void add_passes(const PassTimes& times, int stage, int k) {
    Pass* const passes = passes_of(stage) + 4 * k;
    const int chunk = static_cast<int>(placement_.chunk_of_stage(stage, k));
    const ChunkUnits& ns = times.chunks[chunk];
    Pass& forward = passes[Slot::kForward];
    forward = {ns.forward, 0, row(chunk, false), -1, -1, 1};
    const bool last = chunk + 1 == chunks_;
    send_to(times, stage, chunk, last ? chunk : chunk + 1, last, &forward);
    Pass& input = passes[Slot::kBackwardInput];
    input = {ns.backward_input, 0, row(chunk, true), -1, -1, 0};
    if (chunk > 0) send_to(times, stage, chunk, chunk - 1, true, &input);
    Pass& backward = passes[Slot::kBackward];
    backward = input;
    backward.duration_ns += ns.backward_weight;
    backward.holds = -1;
    passes[Slot::kBackwardWeight] = {ns.backward_weight, 0, -1, -1, -1, -1};
  }

  // Runs a stage until it waits for another one.
  void advance(int stage, StageWalk* out) {
    Line& line = lines_[stage];
    const std::vector<Slot>& order = orders_[stage];
    const Pass* const passes = passes_of(stage);
    int64_t now = out->last_end_ns;
    for (; line.next < order.size(); ++line.next) {
      const Slot slot = order[line.next];
      const Pass& pass = passes[4 * slot.chunk + slot.kind];
      if (pass.input >= 0) {
        const int64_t arrived = arrived_[pass.input + slot.microbatch];
        if (arrived == kNever) {
          line.waits_for = pass.input + slot.microbatch;
          break;
        }
        now = std::max(now, arrived);
      }
      if (line.next == 0) out->first_start_ns = now;
      now += pass.duration_ns;
      out->busy_ns += pass.duration_ns;
      line.held += pass.holds;
      out->peak_held = std::max(out->peak_held, line.held);
      if (pass.output >= 0) send(pass, slot, now, &line);
    }
    out->last_end_ns = now;
  }
  void send(const Pass& pass, const Slot& slot, int64_t now, Line* line) {
    const int32_t place = pass.output + slot.microbatch;
    if (pass.receiver >= 0) {
      int64_t& sent = line->sent_ns[slot.kind == Slot::kForward ? 0 : 1];
      now = sent = std::max(now, sent) + pass.message_ns;
    }
    arrived_[place] = now;
    if (pass.receiver < 0 || lines_[pass.receiver].waits_for != place) return;
    lines_[pass.receiver].waits_for = kNever;
    ready_.push_back(pass.receiver);
  }

  const ScheduleShape& shape_;
  const std::vector<std::vector<Slot>>& orders_;
  const Placement placement_;
  const int chunks_;
  const std::vector<int64_t>& ready_ns_;
  const int32_t stride_;          // of rows of arrived_
  std::vector<Pass> passes_;      // [stages, virtual_stages, kinds]
  std::vector<int64_t> arrived_;  // [chunks, forward or backward, microbatches]: its input, in ns
  std::vector<Line> lines_;
  std::vector<int> ready_;
};

}  // namespace

ScheduleWalk walk_schedule(const ScheduleShape& shape, const std::vector<std::vector<Slot>>& orders,
                           const PassTimes& times) {
  return Walk(shape, orders, times).run();
}

}  // namespace shardwright
