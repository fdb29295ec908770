// Device: the few calls of a GPU's runtime that this backend makes, behind one interface. One
// object per rank. cuda_device.h implements it over the CUDA runtime; emulation/emulated_device.h
// runs everything on the host and records the calls, so that tests can check their order.
//
// A failing call throws ExecError that names rank and call. Between open_step() and close_step()
// nothing may allocate or free device memory or wait for the device: such a call is a broken
// invariant, because it would stop every stream of the rank in the middle of a training step.
// Pinned memory and events, which a first step still needs, are counted.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "costmodel/units.h"

namespace shardwright {

// Work in one stream runs in order; streams run beside each other.
using Stream = struct StreamTag*;
// A moment in a stream: everything given to it before has finished.
using Event = struct EventTag*;
// A recorded step.
using Graph = struct GraphTag*;

struct DeviceProperties {
  std::string name;
  int sm_count = 0;                      // streaming multiprocessors
  int major = 0, minor = 0;              // compute capability
  int64_t clock_khz = 0;                 // of the SMs, at most
  Bytes memory_bytes = 0;                // of the device
  Bytes shared_block_bytes = 0;          // shared memory that one block may ask for
  std::string driver, runtime;           // versions, "13.0"
  std::array<unsigned char, 16> uuid{};  // names the device in all the world
};

// One kernel launch. `arguments` point to the values, in the kernel's order.
struct Launch {
  std::source_location place;
  const void* kernel = nullptr;
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  Bytes shared_bytes = 0;  // dynamic
  void** arguments = nullptr;
  std::function<void()> body;  // one thread of the kernel with its arguments; the emulation's only
};

class Device {
 public:
  explicit Device(int rank) : rank_(rank) {}
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int rank() const { return rank_; }
  virtual const DeviceProperties& properties() const = 0;
  // Calls of libraries (cuBLAS, NCCL) by this thread are for this device from here on.
  virtual void make_current() {}

  // Not within a step. Blocks are 256-byte aligned. What frees or destroys never fails: the device
  // may be broken by then, and has said so.
  void* allocate(Bytes bytes);
  void free(void* block);  // null is ignored
  Stream create_stream();
  void destroy_stream(Stream stream);
  // Within a step they are counted: once everything is in its place there are none.
  void* allocate_pinned(Bytes bytes);
  void free_pinned(void* block);
  Event create_event(bool timed);
  void destroy_event(Event event);
  virtual Bytes free_bytes() = 0;  // of the device's memory, now

  // Wait on the host. Not within a step. Throw what went wrong on the device.
  void synchronize();
  void synchronize(Stream stream);

  void open_step();
  void close_step();
  bool step_open() const { return step_open_; }
  // Pinned blocks and events made or destroyed within the step that is open, or else the last one.
  int made_in_step() const { return made_in_step_; }

  // Given to the stream; they return at once.
  virtual void copy(void* to, const void* from, Bytes bytes, Stream stream) = 0;
  virtual void set_bytes(void* to, int value, Bytes bytes, Stream stream) = 0;
  virtual void record(Event event, Stream stream) = 0;
  virtual void wait(Stream stream, Event event) = 0;
  void launch(Stream stream, const Launch& launch);

  // Whether the event has happened; never waits.
  virtual bool done(Event event) = 0;
  virtual bool idle(Stream stream) = 0;  // whether everything given to it is done
  // From one event to another; both timed and done.
  virtual double elapsed_ns(Event from, Event to) = 0;

  // What `stream`, and streams that wait for its events, are given between the two calls is not
  // run but kept. Those streams must have joined `stream` again before end_capture().
  virtual void begin_capture(Stream stream) = 0;
  virtual Graph end_capture(Stream stream) = 0;
  virtual void run_graph(Graph graph, Stream stream) = 0;
  virtual void destroy_graph(Graph graph) = 0;

 protected:
  virtual void* do_allocate(Bytes bytes) = 0;
  virtual void do_free(void* block) = 0;
  virtual void* do_allocate_pinned(Bytes bytes) = 0;
  virtual void do_free_pinned(void* block) = 0;
  virtual Stream do_create_stream() = 0;
  virtual void do_destroy_stream(Stream stream) = 0;
  virtual Event do_create_event(bool timed) = 0;
  virtual void do_destroy_event(Event event) = 0;
  virtual void do_synchronize() = 0;
  virtual void do_synchronize(Stream stream) = 0;
  virtual void do_launch(Stream stream, const Launch& launch) = 0;

 private:
  void check_outside_step(const char* call) const;

  int rank_;
  bool step_open_ = false;
  int made_in_step_ = 0;
};

// The device that launch() takes, and where launch() was called.
struct LaunchSite {
  LaunchSite(Device& on, std::source_location at = std::source_location::current())  // NOLINT
      : device(on), place(at) {}
  Device& device;
  std::source_location place;
};

// "norm.cu:42"
std::string place_name(const std::source_location& place);

}  // namespace shardwright
