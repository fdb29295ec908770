#include "executor/cuda/cuda_lanes.h"

#include <algorithm>
#include <thread>

#include "costmodel/check.h"
#include "executor/comm/communicator.h"

namespace shardwright {
namespace {

constexpr size_t kCompute = static_cast<size_t>(Lane::kCompute);
constexpr int kPlainStepsFirst = 2;  // before a step is recorded: everything is in its place then
// The host looks for the end of a step this often: short against a step, long against a query.
constexpr auto kLook = std::chrono::microseconds(20);
constexpr int64_t kPollNs = 2'000'000;  // and at the communicator this often

size_t number(Lane lane) { return static_cast<size_t>(lane); }

}  // namespace

CudaLanes::CudaLanes(Device& device, bool graph) : device_(device), graph_wanted_(graph) {
  for (Stream& stream : streams_) stream = device_.create_stream();
  for (Event& event : lane_ends_) event = device_.create_event(false);
  start_ = device_.create_event(false);
  step_end_ = device_.create_event(false);
  origin_ = device_.create_event(true);
}

// A step may be open when an exception ends the run.
CudaLanes::~CudaLanes() {
  if (device_.step_open()) device_.close_step();
  drop_graph();
  for (Event event : lane_ends_) device_.destroy_event(event);
  for (Event event : ends_) {
    if (event != nullptr) device_.destroy_event(event);
  }
  for (const Stamp& stamp : stamps_) device_.destroy_event(stamp.event);
  for (Event event : {start_, step_end_, origin_}) device_.destroy_event(event);
  for (Stream stream : streams_) device_.destroy_stream(stream);
}

bool CudaLanes::start_step(bool may_replay) {
  SW_CHECK(!in_step_, "a step is under way");
  const bool ready = graph_wanted_ && may_replay && !host_waited_;
  mode_ = !ready || plain_steps_ < kPlainStepsFirst ? Mode::kPlain
          : graph_ == nullptr                       ? Mode::kCapture
                                                    : Mode::kReplay;
  anchor();
  device_.open_step();
  in_step_ = true;
  if (mode_ == Mode::kReplay) {
    device_.run_graph(graph_, streams_[kCompute]);
    return false;
  }
  // Stamps of the recorded step would be mixed up with those of this one.
  drop_graph();
  stamps_used_ = 0;
  for (auto& given : given_) given.clear();
  joined_ = {};
  joined_[kCompute] = true;
  waited_ = {};
  next_waits_ = {};
  last_ = -1;
  if (mode_ == Mode::kCapture) device_.begin_capture(streams_[kCompute]);
  device_.record(start_, streams_[kCompute]);
  return true;
}

void CudaLanes::drop_graph() {
  if (graph_ != nullptr) device_.destroy_graph(graph_);
  graph_ = nullptr;
}

// The device is idle: the event happens between the two looks at the clock, some microseconds
// apart.
void CudaLanes::anchor() {
  device_.record(origin_, streams_[kCompute]);
  const int64_t before = monotonic_ns();
  while (!device_.done(origin_)) {
  }
  origin_ns_ = before + (monotonic_ns() - before) / 2;
}

void CudaLanes::join(Lane lane) {
  if (joined_[number(lane)]) return;
  joined_[number(lane)] = true;
  device_.wait(streams_[number(lane)], start_);
}

// A stream that waits for an instruction waits for all those before it on the same lane.
void CudaLanes::make_wait(Lane lane, int instruction) {
  const Lane other = lane_of_.at(static_cast<size_t>(instruction));
  if (other == lane) return;
  int& waited = waited_[number(lane)][number(other)];
  if (waited > instruction) return;
  waited = instruction + 1;
  device_.wait(streams_[number(lane)], ends_.at(static_cast<size_t>(instruction)));
}

void CudaLanes::begin(int index, Lane lane, std::span<const int> after) {
  SW_CHECK(in_step_ && mode_ != Mode::kReplay && current_ < 0,
           "instruction " << index << " begins outside of a step or within another one");
  lane_ = last_lane_ = lane;
  current_ = last_ = index;
  if (lane_of_.size() <= static_cast<size_t>(index)) {
    lane_of_.resize(static_cast<size_t>(index) + 1, Lane::kCompute);
    ends_.resize(static_cast<size_t>(index) + 1, nullptr);
  }
  lane_of_[static_cast<size_t>(index)] = lane;
  join(lane);
  for (int before : after) {
    SW_CHECK(before < index, "instruction " << index << " waits for " << before);
    make_wait(lane, before);
  }
  wait_for(next_waits_);
  next_waits_ = {};
}

void CudaLanes::wait_for(const LastUses& uses) {
  for (size_t other = 0; other < uses.size(); ++other) {
    if (uses[other] == 0) continue;
    if (current_ < 0) {
      next_waits_[other] = std::max(next_waits_[other], uses[other]);
    } else {
      make_wait(lane_, uses[other] - 1);
    }
  }
}

void CudaLanes::end(int index) {
  SW_CHECK_EQ(index, current_, "the instruction that ends");
  Event& event = ends_[static_cast<size_t>(index)];
  if (event == nullptr) event = device_.create_event(false);
  device_.record(event, stream());
  given_[number(lane_)].push_back(index);
  current_ = -1;
  lane_ = Lane::kCompute;
}

int64_t CudaLanes::stamp() {
  if (stamps_used_ == stamps_.size()) stamps_.push_back({device_.create_event(true)});
  device_.record(stamps_[stamps_used_].event, stream());
  return static_cast<int64_t>(stamps_used_++);
}

int64_t CudaLanes::ns_of(int64_t stamp) const {
  SW_CHECK(!in_step_, "times are known when the step is over");
  return origin_ns_ + static_cast<int64_t>(stamps_.at(static_cast<size_t>(stamp)).ns);
}

void CudaLanes::finish_step() {
  SW_CHECK(in_step_ && current_ < 0, "no step is under way, or an instruction of it is");
  const Stream compute = streams_[kCompute];
  if (mode_ != Mode::kReplay) {
    for (size_t lane = 0; lane < streams_.size(); ++lane) {
      if (lane == kCompute || !joined_[lane]) continue;
      device_.record(lane_ends_[lane], streams_[lane]);
      device_.wait(compute, lane_ends_[lane]);
    }
  }
  if (mode_ == Mode::kCapture) {
    graph_ = device_.end_capture(compute);
    device_.run_graph(graph_, compute);
  }
  device_.record(step_end_, compute);
  await(step_end_);
  device_.close_step();
  in_step_ = false;
  read_stamps();
  if (mode_ == Mode::kPlain) ++plain_steps_;
  last_ = -1;
  if (watch_ != nullptr) watch_->step_finished();
  if (after_step_) after_step_();
}

void CudaLanes::read_stamps() {
  for (size_t i = 0; i < stamps_used_; ++i) {
    stamps_[i].ns = device_.elapsed_ns(origin_, stamps_[i].event);
  }
}

void CudaLanes::await(Event event) {
  const int64_t since = monotonic_ns();
  int64_t polled = since;
  progress_ns_ = since;
  finished_ = {};
  while (!device_.done(event)) {
    if (watch_ != nullptr && monotonic_ns() - polled >= kPollNs) {
      poll(since);
      polled = monotonic_ns();
    }
    std::this_thread::sleep_for(kLook);
  }
}

void CudaLanes::poll(int64_t waiting_since_ns) {
  std::vector<int> unfinished;
  if (mode_ == Mode::kPlain) {
    for (size_t lane = 0; lane < given_.size(); ++lane) {
      const std::vector<int>& given = given_[lane];
      size_t& done = finished_[lane];
      while (done < given.size() && device_.done(ends_[static_cast<size_t>(given[done])])) {
        ++done;
        progress_ns_ = monotonic_ns();
      }
      if (done < given.size()) unfinished.push_back(given[done]);
    }
  }
  progress_ns_ = std::max(progress_ns_, waiting_since_ns);
  watch_->poll({std::chrono::nanoseconds(monotonic_ns() - progress_ns_), unfinished});
}

bool CudaLanes::idle() { return device_.idle(stream()); }

void CudaLanes::wait_on_host() {
  SW_CHECK(!in_step_ || mode_ != Mode::kCapture, "the host waits in a step that is recorded");
  host_waited_ = host_waited_ || in_step_;
  while (!device_.idle(stream())) std::this_thread::yield();
}

}  // namespace shardwright
