#include "executor/cuda/emulation/emulated_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "costmodel/check.h"
#include "executor/cuda/emulation/symbols.h"
#include "executor/exec_error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace shardwright {
namespace {

constexpr Bytes kAlignment = 256;
constexpr Bytes kGuardBytes = 256;            // before and behind each block
constexpr int kGuard = 0xa5, kPoison = 0xff;  // fresh memory is NaN in every type
constexpr double kWorkNs = 1000;              // every piece of work takes a microsecond

const char* name_of(EmulatedDevice::Kind kind) {
  constexpr const char* kNames[] = {"launch", "copy",        "set_bytes", "record",
                                    "wait",   "synchronize", "allocate",  "graph"};
  return kNames[static_cast<int>(kind)];
}

void forbid_access([[maybe_unused]] void* at, [[maybe_unused]] Bytes bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(at, static_cast<size_t>(bytes));
#endif
}
void allow_access([[maybe_unused]] void* at, [[maybe_unused]] Bytes bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(at, static_cast<size_t>(bytes));
#endif
}

Bytes behind_bytes(Bytes bytes) { return round_up(bytes, kAlignment) - bytes + kGuardBytes; }

}  // namespace

std::string EmulatedDevice::Call::text() const {
  std::ostringstream out;
  out << name_of(kind);
  if (kind == Kind::kLaunch) {
    out << " " << kernel << " [" << grid[0] << "," << grid[1] << "," << grid[2] << "] x ["
        << block[0] << "," << block[1] << "," << block[2] << "]";
  }
  if (event >= 0) out << " e" << event;
  if (bytes != 0) out << " " << bytes << " bytes";
  if (stream >= 0) out << " on " << stream;
  return out.str();
}

EmulatedDevice::EmulatedDevice(int rank, EmulatedOptions options)
    : Device(rank), options_(options), random_(options.seed) {
  properties_.name = "emulated";
  properties_.sm_count = options.sm_count;
  properties_.major = 8;
  properties_.clock_khz = 1000000;
  properties_.memory_bytes = options.memory_bytes;
  // Of compute capability 8.0 (CUDA C++ Programming Guide, technical specifications).
  properties_.shared_block_bytes = Bytes{163} << 10;
  properties_.driver = properties_.runtime = "emulated";
}

EmulatedDevice::~EmulatedDevice() {
  while (!blocks_.empty()) do_free(blocks_.begin()->first);
}

void* EmulatedDevice::do_allocate(Bytes bytes) {
  if (bytes > free_bytes()) {
    throw ExecError(rank(), "allocate", "no device memory for " + std::to_string(bytes) + " bytes");
  }
  const Bytes whole = kGuardBytes + bytes + behind_bytes(bytes);
  auto* start = static_cast<std::byte*>(
      std::aligned_alloc(static_cast<size_t>(kAlignment), static_cast<size_t>(whole)));
  SW_CHECK(start != nullptr, "no host memory for an emulated block");
  std::memset(start, kGuard, static_cast<size_t>(whole));
  std::byte* block = start + kGuardBytes;
  std::memset(block, kPoison, static_cast<size_t>(bytes));
  forbid_access(start, kGuardBytes);
  forbid_access(block + bytes, behind_bytes(bytes));
  blocks_[block] = bytes;
  allocated_bytes_ += bytes;
  calls_.push_back({.kind = Kind::kAllocate, .bytes = bytes});
  return block;
}

void EmulatedDevice::do_free(void* block) {
  const auto found = blocks_.find(block);
  SW_CHECK(found != blocks_.end(), "block was not allocated on this device");
  try {
    while (run_one()) {  // as the runtime does: memory may be in use
    }
  } catch (const std::exception& error) {
    errors_ += std::string(error.what()) + "; ";
  }
  errors_ += check_guards(block, found->second);
  auto* start = static_cast<std::byte*>(block) - kGuardBytes;
  allow_access(start, kGuardBytes + found->second + behind_bytes(found->second));
  std::free(start);
  allocated_bytes_ -= found->second;
  blocks_.erase(found);
}

std::string EmulatedDevice::check_guards(void* block, Bytes bytes) const {
  auto* at = static_cast<std::byte*>(block);
  allow_access(at - kGuardBytes, kGuardBytes);
  allow_access(at + bytes, behind_bytes(bytes));
  std::string problem;
  const auto look = [&](Bytes from, Bytes to) {
    for (Bytes i = from; i < to && problem.empty(); ++i) {
      if (at[i] != std::byte{kGuard}) {
        problem = "byte " + std::to_string(i) + " of a block of " + std::to_string(bytes) +
                  " bytes was written; ";
      }
    }
  };
  look(-kGuardBytes, 0);
  look(bytes, bytes + behind_bytes(bytes));
  forbid_access(at - kGuardBytes, kGuardBytes);
  forbid_access(at + bytes, behind_bytes(bytes));
  return problem;
}

std::string EmulatedDevice::memory_errors() {
  std::string out = std::move(errors_);
  errors_.clear();
  for (const auto& [block, bytes] : blocks_) out += check_guards(block, bytes);
  return out;
}

Stream EmulatedDevice::do_create_stream() {
  streams_.push_back(std::make_unique<StreamState>());
  streams_.back()->number = static_cast<int>(streams_.size()) - 1;
  return reinterpret_cast<Stream>(streams_.back().get());
}
void EmulatedDevice::do_destroy_stream(Stream stream) {
  run_until(state(stream), state(stream).given);
}
Event EmulatedDevice::do_create_event(bool timed) {
  events_.push_back(std::make_unique<EventState>());
  events_.back()->number = static_cast<int>(events_.size()) - 1;
  events_.back()->timed = timed;
  return reinterpret_cast<Event>(events_.back().get());
}
void EmulatedDevice::do_destroy_event(Event) {}

EmulatedDevice::StreamState& EmulatedDevice::state(Stream stream) {
  SW_CHECK(stream != nullptr, "no stream");
  return *reinterpret_cast<StreamState*>(stream);
}
EmulatedDevice::EventState& EmulatedDevice::state(Event event) {
  SW_CHECK(event != nullptr, "no event");
  return *reinterpret_cast<EventState*>(event);
}

// --- streams ---

void EmulatedDevice::give(StreamState& stream, Work work) {
  ++stream.given;
  stream.clock[stream.number] = stream.given;
  if (stream.captured) {
    ++stream.finished;  // the stream itself has nothing to run
    if (work.run) captured_->works.push_back(std::move(work.run));
    return;
  }
  stream.queue.push_back(std::move(work));
  if (options_.deferred) return;
  while (run_one()) {
  }
}

bool EmulatedDevice::may_run(const StreamState& stream) const {
  if (stream.queue.empty()) return false;
  const Work& next = stream.queue.front();
  return next.waits_for < 0 ||
         streams_[static_cast<size_t>(next.waits_for)]->finished >= next.position;
}

bool EmulatedDevice::run_one() {
  std::vector<StreamState*> able;
  for (const auto& stream : streams_) {
    if (may_run(*stream)) able.push_back(stream.get());
  }
  if (able.empty()) return false;
  StreamState& stream = *able[random_() % able.size()];
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  clock_ns_ += kWorkNs;
  if (work.run) work.run();
  ++stream.finished;
  return true;
}

void EmulatedDevice::run_until(const StreamState& stream, int64_t position) {
  while (stream.finished < position) {
    SW_CHECK(run_one(), "stream " << stream.number << " waits for ever");
  }
}

void EmulatedDevice::copy(void* to, const void* from, Bytes bytes, Stream stream) {
  calls_.push_back({.kind = Kind::kCopy, .stream = state(stream).number, .bytes = bytes});
  give(state(stream), {.run = [=] { std::memcpy(to, from, static_cast<size_t>(bytes)); }});
}

void EmulatedDevice::set_bytes(void* to, int value, Bytes bytes, Stream stream) {
  calls_.push_back({.kind = Kind::kSetBytes, .stream = state(stream).number, .bytes = bytes});
  give(state(stream), {.run = [=] { std::memset(to, value, static_cast<size_t>(bytes)); }});
}

void EmulatedDevice::do_launch(Stream stream, const Launch& launch) {
  Call call{.kind = Kind::kLaunch, .stream = state(stream).number};
  call.kernel = emulation::Symbols::get().function_name(launch.kernel);
  call.grid = launch.grid;
  call.block = launch.block;
  call.bytes = launch.shared_bytes;
  calls_.push_back(call);
  Launch kept = launch;
  kept.arguments = nullptr;  // the body has them
  give(state(stream), {.run = [this, kept] { emulation::run_grid(kept, options_.order); }});
}

void EmulatedDevice::record(Event event, Stream stream) {
  StreamState& in = state(stream);
  EventState& what = state(event);
  calls_.push_back({.kind = Kind::kRecord, .stream = in.number, .event = what.number});
  give(in, {.run = [this, &what] { what.time_ns = clock_ns_; }});
  what.stream = &in;
  what.position = in.given;
  what.clock = in.clock;
  what.captured = in.captured;
}

// An event that was never recorded counts as happened (CUDA Runtime API, cudaStreamWaitEvent).
void EmulatedDevice::wait(Stream stream, Event event) {
  StreamState& in = state(stream);
  EventState& what = state(event);
  calls_.push_back({.kind = Kind::kWait, .stream = in.number, .event = what.number});
  if (what.stream == nullptr) return;
  if (what.captured && capture_ != nullptr) in.captured = true;
  SW_CHECK(!in.captured || what.captured, "a captured stream waits for an event from before");
  for (const auto& [number, position] : what.clock) {
    in.clock[number] = std::max(in.clock[number], position);
  }
  give(in, {.run = nullptr, .waits_for = what.stream->number, .position = what.position});
}

bool EmulatedDevice::done(Event event) {
  const EventState& what = state(event);
  look();
  return what.stream == nullptr || what.stream->finished >= what.position;
}
bool EmulatedDevice::idle(Stream stream) {
  look();
  return state(stream).queue.empty();
}
void EmulatedDevice::look() {
  if (run_one()) return;
  for (const auto& stream : streams_) {
    SW_CHECK(stream->queue.empty(), "stream " << stream->number << " waits for ever");
  }
}

void EmulatedDevice::run_on(Stream stream, const std::string& name, std::function<void()> run) {
  calls_.push_back({.kind = Kind::kLaunch, .stream = state(stream).number, .kernel = name});
  give(state(stream), {.run = std::move(run)});
}

double EmulatedDevice::elapsed_ns(Event from, Event to) {
  SW_CHECK(state(from).timed && state(to).timed, "elapsed_ns of events without time");
  SW_CHECK(done(from) && done(to), "elapsed_ns of events that have not happened");
  return state(to).time_ns - state(from).time_ns;
}

void EmulatedDevice::do_synchronize() {
  calls_.push_back({.kind = Kind::kSynchronize});
  for (const auto& stream : streams_) run_until(*stream, stream->given);
}
void EmulatedDevice::do_synchronize(Stream stream) {
  calls_.push_back({.kind = Kind::kSynchronize, .stream = state(stream).number});
  run_until(state(stream), state(stream).given);
}

// --- graphs: the captured work in the order in which it was given, which respects every wait ---

void EmulatedDevice::begin_capture(Stream stream) {
  SW_CHECK(capture_ == nullptr, "a capture is under way");
  calls_.push_back({.kind = Kind::kGraph, .stream = state(stream).number});
  capture_ = &state(stream);
  capture_->captured = true;
  captured_ = std::make_unique<GraphState>();
}

Graph EmulatedDevice::end_capture(Stream stream) {
  SW_CHECK(capture_ == &state(stream), "the capture began on another stream");
  for (const auto& other : streams_) {
    if (!other->captured) continue;
    SW_CHECK_EQ(capture_->clock[other->number], other->given,
                "stream " << other->number << " has not joined the captured stream");
    other->captured = false;
  }
  capture_ = nullptr;
  return reinterpret_cast<Graph>(captured_.release());
}

void EmulatedDevice::run_graph(Graph graph, Stream stream) {
  calls_.push_back({.kind = Kind::kGraph, .stream = state(stream).number});
  const auto* works = &reinterpret_cast<GraphState*>(graph)->works;
  give(state(stream), {.run = [this, works] {
         for (const auto& work : *works) {
           clock_ns_ += kWorkNs;
           work();
         }
       }});
}

void EmulatedDevice::destroy_graph(Graph graph) { delete reinterpret_cast<GraphState*>(graph); }

}  // namespace shardwright
