// DualPipeV: DualPipe (arXiv 2412.19437, section 3.2.1) cut in half, so that each stage's two
// chunks lie on the way down the stages and on the way back up and parameters are held once. In the
// main phase a forward of one chunk and a whole backward of the other stand side by side, so that
// the communication of one may hide behind the compute of the other; here they are two neighbouring
// slots. Without such overlap the bubble is (p-1)(f+b-w) of a chunk's times f, b (gradient of
// inputs) and w when they are equal; at most 2p+1 chunk-microbatches are held. The phases are those
// of github.com/deepseek-ai/DualPipe (README). Needs 2p microbatches.
#include <array>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

class DualPipeV {
 public:
  std::vector<Slot> run(const ScheduleShape& shape, int stage) {
    const int below = shape.stages - stage - 1;
    order_.reserve(6 * static_cast<size_t>(shape.microbatches));
    for (int i = 0; i < 2 * below; ++i) forward(0);
    for (int i = 0; i <= stage; ++i) {
      forward(0);
      forward(1);
    }
    for (int i = 0; i < below; ++i) {
      input(1);
      weight();
      forward(1);
    }
    for (int i = 0; i < shape.microbatches - 2 * shape.stages + stage + 1; ++i) {
      forward(0);
      backward(1);
      forward(1);
      backward(0);
    }
    for (int i = 0; i < below; ++i) {
      backward(1);
      forward(1);
      backward(0);
    }
    cool_down(stage, below);
    return std::move(order_);
  }

 private:
  // From its middle on, only gradients of inputs: the weights' fill the tail.
  void cool_down(int stage, int below) {
    for (int i = 0; i < 2 * (stage + 1); ++i) {
      const int chunk = 1 - i % 2;
      i <= stage ? backward(chunk) : input(chunk);
    }
    for (int i = 0; i < below; ++i) {
      weight();
      input(0);
    }
    while (weights_ < waiting_.size()) weight();
  }
  void forward(int chunk) { order_.push_back({Slot::kForward, forwards_[chunk]++, chunk}); }
  void backward(int chunk) { order_.push_back({Slot::kBackward, backwards_[chunk]++, chunk}); }
  void input(int chunk) {
    order_.push_back({Slot::kBackwardInput, backwards_[chunk]++, chunk});
    waiting_.push_back({Slot::kBackwardWeight, order_.back().microbatch, chunk});
  }
  void weight() { order_.push_back(waiting_[weights_++]); }

  std::array<int, 2> forwards_{}, backwards_{};
  std::vector<Slot> waiting_;  // gradients of weights, from weights_ on still to be done
  size_t weights_ = 0;
  std::vector<Slot> order_;
};

}  // namespace

std::vector<Slot> dualpipe_v_order(const ScheduleShape& shape, int stage) {
  return DualPipeV().run(shape, stage);
}

}  // namespace shardwright
