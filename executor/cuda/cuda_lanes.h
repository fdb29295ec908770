// Lanes of a device: a stream for every lane, an event at the end of every instruction, and timed
// events where somebody asks for a stamp.
//
// A step starts on the compute lane's stream; a lane joins when its first instruction begins, and
// all have joined the compute lane's stream again when the step ends. So a whole step can be
// recorded as a graph and repeated: after two steps of the ordinary kind, when it was asked for and
// the host has not waited for a lane in the middle of a step.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "executor/comm/stream_source.h"
#include "executor/cuda/arena.h"
#include "executor/cuda/device.h"
#include "executor/lanes.h"

namespace shardwright {

class CudaLanes final : public Lanes, public StreamSource {
 public:
  // `graph`: record the step and repeat it. Never tried on a GPU yet.
  CudaLanes(Device& device, bool graph);
  ~CudaLanes() override;

  bool start_step(bool may_replay) override;
  void finish_step() override;
  void begin(int index, Lane lane, std::span<const int> after) override;
  void end(int index) override;
  int64_t stamp() override;
  int64_t ns_of(int64_t stamp) const override;
  bool stamps_are_free() const override { return false; }

  void* current_stream() override { return stream(); }
  int current_instruction() const override { return current_; }
  bool idle() override;
  void set_watch(StepWatch* watch) override { watch_ = watch; }

  // Of the instruction under way; between steps and instructions the compute lane's.
  Stream stream() const { return streams_[static_cast<size_t>(lane_)]; }
  Lane lane() const { return lane_; }
  // The instruction that memory freed now was last used by, and its lane: the one under way, else
  // the last one of this step, else -1.
  int last_instruction() const { return last_; }
  Lane last_lane() const { return last_lane_; }
  // What is given to the instruction under way from here on, or else to the next one, starts when
  // these have finished.
  void wait_for(const LastUses& uses);
  // Returns when everything given to the lane under way is done. In a step that is a step which
  // cannot be repeated by the device.
  void wait_on_host();

  // Called by finish_step() when the device is done and the step is closed.
  void after_step(std::function<void()> call) { after_step_ = std::move(call); }
  bool replaying() const { return replaying_; }

 private:
  enum class Mode { kPlain, kCapture, kReplay };
  struct Stamp {
    Event event;
    double ns = 0;  // since the step's origin
  };

  Event end_event(int index);
  void join(Lane lane);
  void make_wait(Lane lane, int instruction);
  void drop_graph();
  void anchor();
  void await(Event event);
  void poll(int64_t waiting_since_ns);
  void read_stamps();

  Device& device_;
  const bool graph_wanted_;
  std::array<Stream, static_cast<size_t>(Lane::kCount)> streams_{};
  std::array<Event, static_cast<size_t>(Lane::kCount)> lane_ends_{};
  std::array<bool, static_cast<size_t>(Lane::kCount)> joined_{};
  std::array<std::vector<int>, static_cast<size_t>(Lane::kCount)> given_;  // this step, by lane
  std::array<size_t, static_cast<size_t>(Lane::kCount)> finished_{};       // of them, as polled
  // By lane: 1 + the last instruction of another lane that its stream waits for already.
  std::array<LastUses, static_cast<size_t>(Lane::kCount)> waited_{};
  std::vector<Event> ends_;    // by instruction index
  std::vector<Lane> lane_of_;  // by instruction index, of this step
  std::vector<Stamp> stamps_;  // events are kept from step to step
  size_t stamps_used_ = 0;
  Event start_ = nullptr, origin_ = nullptr, step_end_ = nullptr;
  int64_t origin_ns_ = 0;  // of origin_, on monotonic_ns()'s clock

  bool in_step_ = false, replaying_ = false;
  Mode mode_ = Mode::kPlain;
  Lane lane_ = Lane::kCompute, last_lane_ = Lane::kCompute;
  int current_ = -1, last_ = -1;
  LastUses next_waits_{};
  Graph graph_ = nullptr;
  int plain_steps_ = 0;
  bool host_waited_ = false;
  int64_t progress_ns_ = 0;  // when an instruction was last seen to finish
  StepWatch* watch_ = nullptr;
  std::function<void()> after_step_;
};

}  // namespace shardwright
