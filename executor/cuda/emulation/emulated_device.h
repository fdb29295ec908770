// A device on the host for tests: kernels run in the emulation, and every call is recorded in
// order.
//
// By default work runs when it is given. With `deferred`, streams run only when somebody waits for
// them, one piece at a time of a stream picked at random among those that may go on: whoever
// forgot to make a stream wait for another gets wrong results, or the NaN that memory starts with.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "executor/cuda/device.h"
#include "executor/cuda/emulation/execution.h"

namespace shardwright {

struct EmulatedOptions {
  int sm_count = 4;
  emulation::ThreadOrder order = emulation::ThreadOrder::kForward;
  bool deferred = false;
  uint32_t seed = 1;  // of the order of streams when deferred
  Bytes memory_bytes = Bytes{1} << 30;
};

class EmulatedDevice final : public Device {
 public:
  enum class Kind { kLaunch, kCopy, kSetBytes, kRecord, kWait, kSynchronize, kAllocate, kGraph };
  // Streams and events are numbered from 0 in the order in which they were made; -1: none.
  struct Call {
    Kind kind;
    int stream = -1, event = -1;
    std::string kernel{};  // of a launch
    std::array<uint32_t, 3> grid{}, block{};
    Bytes bytes = 0;           // copied, set or allocated; dynamic shared memory of a launch
    std::string text() const;  // "launch fill_kernel<float> [4,1,1] x [256,1,1] on 0"
  };

  explicit EmulatedDevice(int rank = 0, EmulatedOptions options = {});
  ~EmulatedDevice() override;

  const DeviceProperties& properties() const override { return properties_; }
  Bytes free_bytes() override { return properties_.memory_bytes - allocated_bytes_; }
  void copy(void* to, const void* from, Bytes bytes, Stream stream) override;
  void set_bytes(void* to, int value, Bytes bytes, Stream stream) override;
  void record(Event event, Stream stream) override;
  void wait(Stream stream, Event event) override;
  bool done(Event event) override;
  bool idle(Stream stream) override;
  double elapsed_ns(Event from, Event to) override;
  void begin_capture(Stream stream) override;
  Graph end_capture(Stream stream) override;
  void run_graph(Graph graph, Stream stream) override;
  void destroy_graph(Graph graph) override;

  // Gives host code to the stream, in the place of a kernel of this name.
  void run_on(Stream stream, const std::string& name, std::function<void()> run);

  const std::vector<Call>& calls() const { return calls_; }
  void forget_calls() { calls_.clear(); }
  void set_order(emulation::ThreadOrder order) { options_.order = order; }
  // What was written just before or behind a block of memory, of live blocks and those freed since
  // the last call; "" when nothing was.
  std::string memory_errors();

 protected:
  void* do_allocate(Bytes bytes) override;
  void do_free(void* block) override;
  void* do_allocate_pinned(Bytes bytes) override { return do_allocate(bytes); }
  void do_free_pinned(void* block) override { do_free(block); }
  Stream do_create_stream() override;
  void do_destroy_stream(Stream stream) override;
  Event do_create_event(bool timed) override;
  void do_destroy_event(Event event) override;
  void do_synchronize() override;
  void do_synchronize(Stream stream) override;
  void do_launch(Stream stream, const Launch& launch) override;

 private:
  // How much of every stream is known to have happened: stream number -> pieces of work.
  using Clock = std::map<int, int64_t>;
  struct Work {
    std::function<void()> run{};
    int waits_for = -1;  // stream, and how much of it
    int64_t position = 0;
  };
  struct StreamState {
    int number;
    std::deque<Work> queue;
    int64_t given = 0, finished = 0;
    Clock clock;
    bool captured = false;
  };
  struct EventState {
    int number;
    bool timed;
    StreamState* stream = nullptr;  // of the last record
    int64_t position = 0;
    Clock clock;
    bool captured = false;
    double time_ns = 0;
  };
  struct GraphState {
    std::vector<std::function<void()>> works;
  };

  StreamState& state(Stream stream);
  EventState& state(Event event);
  void give(StreamState& stream, Work work);
  void look();     // what a query does when work is deferred: something happens meanwhile
  bool run_one();  // false when no stream may go on
  void run_until(const StreamState& stream, int64_t position);
  bool may_run(const StreamState& stream) const;
  std::string check_guards(void* block, Bytes bytes) const;

  EmulatedOptions options_;
  DeviceProperties properties_;
  std::vector<Call> calls_;
  std::vector<std::unique_ptr<StreamState>> streams_;
  std::vector<std::unique_ptr<EventState>> events_;
  std::map<void*, Bytes> blocks_;
  Bytes allocated_bytes_ = 0;
  std::string errors_;
  StreamState* capture_ = nullptr;  // the stream whose capture is under way
  std::unique_ptr<GraphState> captured_;
  double clock_ns_ = 0;
  std::mt19937 random_;
};

}  // namespace shardwright
