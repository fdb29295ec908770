// A device for tests: every lane is a stream, and a stream is a thread that does what it is given
// in order, so that calls return before they are done and a peer that does not come is waited for
// without end, as on a GPU.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "executor/comm/stream_source.h"
#include "executor/lanes.h"

namespace shardwright::testing {

class StandInStream {
 public:
  StandInStream() : worker_([this] { work(); }) {}
  ~StandInStream();  // when all that was given is done

  void give(std::function<void()> task);
  bool idle() const { return pending_.load() == 0; }

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::atomic<int> pending_{0};
  bool closing_ = false;
  std::thread worker_;  // last: it uses the others
};

// The lanes of one rank. Instructions are numbered from 0 in every step.
class StandInDevice final : public Lanes, public StreamSource {
 public:
  bool start_step(bool may_replay) override;
  void finish_step() override;  // polls the watch
  void begin(int index, Lane lane, std::span<const int> after) override;
  void end(int index) override;
  int64_t stamp() override;
  int64_t ns_of(int64_t stamp) const override;
  bool stamps_are_free() const override { return false; }

  void* current_stream() override { return &stream(lane_); }
  int current_instruction() const override { return instruction_; }
  bool idle() override { return stream(lane_).idle(); }
  void set_watch(StepWatch* watch) override { watch_ = watch; }

  StandInStream& stream(Lane lane) { return *streams_[static_cast<size_t>(lane)]; }

 private:
  bool finished(int index) const;
  std::vector<int> unfinished() const;  // per lane with work left, its first

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> finished_;  // instructions, in the order in which they ended
  std::deque<std::atomic<int64_t>> stamps_;
  std::array<std::vector<int>, static_cast<size_t>(Lane::kCount)> given_;  // instructions per lane
  Lane lane_ = Lane::kCompute;
  int instruction_ = -1;
  StepWatch* watch_ = nullptr;
  std::array<std::unique_ptr<StandInStream>, static_cast<size_t>(Lane::kCount)> streams_ = make();

  static std::array<std::unique_ptr<StandInStream>, static_cast<size_t>(Lane::kCount)> make();
};

}  // namespace shardwright::testing
