// ZB-V (arXiv 2401.10241, section 6): two chunks a stage, laid down the stages and back up, so that
// the stage that computes the loss is the one that starts. Without bubble inside a stage's span
// when forward, gradient of inputs and gradient of weights take the same time; stages start
// (p-1)F/2 apart. Every stage holds at most 2p chunk-microbatches, as much as stage 0 of 1F1B.
//
// The pattern below needs 2p-1 microbatches; with fewer, those that are not there drop out of it.
#include <algorithm>
#include <array>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

class ZbV {
 public:
  explicit ZbV(const ScheduleShape& shape)
      : microbatches_(shape.microbatches), all_(std::max(microbatches_, 2 * shape.stages - 1)) {}

  std::vector<Slot> run(int stage, int stages) {
    order_.reserve(6 * static_cast<size_t>(microbatches_));
    warm_up(stage, stages);
    while (next_[Slot::kForward][1] < all_) {
      if (next_[Slot::kForward][0] < all_) add(Slot::kForward, 0);
      both(0);
      add(Slot::kForward, 1);
      both(1);
    }
    cool_down(stage, stages);
    return std::move(order_);
  }

 private:
  // Chunk 0 fills the way down, chunk 1 the way up, until the first gradients come back.
  void warm_up(int stage, int stages) {
    for (int i = 0; i < 2 * (stages - stage) - 1; ++i) add(Slot::kForward, 0);
    for (int i = 0; i < stage; ++i) {
      add(Slot::kForward, 1);
      add(Slot::kForward, 0);
    }
    for (int i = 0; i < stages - stage; ++i) {
      add(Slot::kForward, 1);
      both(1);
    }
  }
  // Gradients of inputs hurry to the other stages; those of weights fill what is left.
  void cool_down(int stage, int stages) {
    for (int i = 0; i < stage; ++i) {
      add(Slot::kBackwardInput, 0);
      add(Slot::kBackwardInput, 1);
    }
    for (int i = 0; i < stages - stage; ++i) both(0);
    for (int chunk : {1, 0}) {
      while (next_[Slot::kBackwardWeight][chunk] < all_) add(Slot::kBackwardWeight, chunk);
    }
  }
  void both(int chunk) {
    add(Slot::kBackwardInput, chunk);
    add(Slot::kBackwardWeight, chunk);
  }
  void add(Slot::Kind kind, int chunk) {
    const int microbatch = next_[kind][chunk]++;
    if (microbatch < microbatches_) order_.push_back({kind, microbatch, chunk});
  }

  int microbatches_, all_;
  std::array<std::array<int, 2>, 4> next_{};  // by kind and chunk
  std::vector<Slot> order_;
};

}  // namespace

std::vector<Slot> zb_v_order(const ScheduleShape& shape, int stage) {
  return ZbV(shape).run(stage, shape.stages);
}

}  // namespace shardwright
