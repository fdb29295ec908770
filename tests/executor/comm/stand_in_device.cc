#include "tests/executor/comm/stand_in_device.h"

#include <algorithm>

#include "costmodel/check.h"
#include "executor/comm/communicator.h"

namespace shardwright::testing {

StandInStream::~StandInStream() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void StandInStream::give(std::function<void()> task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++pending_;
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void StandInStream::work() {
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return closing_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    --pending_;
  }
}

std::array<std::unique_ptr<StandInStream>, static_cast<size_t>(Lane::kCount)>
StandInDevice::make() {
  std::array<std::unique_ptr<StandInStream>, static_cast<size_t>(Lane::kCount)> streams;
  for (auto& stream : streams) stream = std::make_unique<StandInStream>();
  return streams;
}

bool StandInDevice::start_step(bool) {
  const std::lock_guard<std::mutex> lock(mutex_);
  finished_.clear();
  stamps_.clear();
  for (auto& given : given_) given.clear();
  return true;
}

void StandInDevice::finish_step() {
  const auto all_idle = [&] {
    return std::all_of(streams_.begin(), streams_.end(), [](auto& s) { return s->idle(); });
  };
  int64_t since_ns = monotonic_ns();
  size_t seen = 0;
  while (!all_idle()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::vector<int> open = unfinished();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (finished_.size() != seen) since_ns = monotonic_ns();
      seen = finished_.size();
    }
    if (watch_ != nullptr) {
      watch_->poll({std::chrono::nanoseconds(monotonic_ns() - since_ns), open});
    }
  }
  if (watch_ != nullptr) watch_->step_finished();
}

void StandInDevice::begin(int index, Lane lane, std::span<const int> after) {
  SW_CHECK_EQ(instruction_, -1, "an instruction inside another");
  lane_ = lane;
  instruction_ = index;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    given_[static_cast<size_t>(lane)].push_back(index);
  }
  for (const int before : after) {
    stream(lane).give([this, before] {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return finished(before); });
    });
  }
}

void StandInDevice::end(int index) {
  SW_CHECK_EQ(instruction_, index, "the end of another instruction");
  stream(lane_).give([this, index] {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      finished_.push_back(index);
    }
    changed_.notify_all();
  });
  lane_ = Lane::kCompute;
  instruction_ = -1;
}

bool StandInDevice::finished(int index) const {
  return std::find(finished_.begin(), finished_.end(), index) != finished_.end();
}

std::vector<int> StandInDevice::unfinished() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<int> first;
  for (const std::vector<int>& given : given_) {
    const auto open = std::find_if(given.begin(), given.end(), [&](int i) { return !finished(i); });
    if (open != given.end()) first.push_back(*open);
  }
  return first;
}

int64_t StandInDevice::stamp() {
  SW_CHECK_GE(instruction_, 0, "a stamp between steps");
  std::atomic<int64_t>* slot = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    slot = &stamps_.emplace_back(0);
  }
  stream(lane_).give([slot] { slot->store(monotonic_ns()); });
  return static_cast<int64_t>(stamps_.size()) - 1;
}

int64_t StandInDevice::ns_of(int64_t stamp) const {
  return stamps_.at(static_cast<size_t>(stamp)).load();
}

}  // namespace shardwright::testing
