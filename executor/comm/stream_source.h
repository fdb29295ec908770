// What a device's lanes give a communicator that enqueues its calls on them (NCCL): the stream to
// enqueue on, and a turn to look for trouble while the rank waits for its step. Lanes of a device
// implement StreamSource; the communicator implements StepWatch and registers itself.
//
// No CUDA header is needed: a stream is passed on as an opaque pointer.
#pragma once

#include <chrono>
#include <span>

namespace shardwright {

// How far the device has come with the step that the rank waits for.
struct StepProgress {
  // Since the device was last seen to finish an instruction, or since the wait began.
  std::chrono::nanoseconds idle{0};
  // Of each lane with work left, its first instruction that has not finished (index in the rank's
  // list). Empty when this is not known, as when a recorded step is repeated.
  std::span<const int> unfinished;
};

class StepWatch {
 public:
  virtual ~StepWatch() = default;
  // Called every few milliseconds by whoever waits for the device, from the rank's own thread.
  // Throws ExecError when a peer or a link has failed or `idle` is past the deadline; everything
  // that this rank had under way is then given up, so that the device comes to an end.
  virtual void poll(const StepProgress& progress) = 0;
  // The step is over and went well.
  virtual void step_finished() = 0;
};

class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // The stream (cudaStream_t) of the instruction under way; between steps the compute lane's.
  virtual void* current_stream() = 0;
  // Index of the instruction under way; -1 between steps.
  virtual int current_instruction() const = 0;
  // Whether all that was given to current_stream() is done. Does not wait. Throws ExecError when it
  // failed on the device.
  virtual bool idle() = 0;
  // From now on polled by every wait for the step's end; null: nobody. Does not own it.
  virtual void set_watch(StepWatch* watch) = 0;
};

}  // namespace shardwright
