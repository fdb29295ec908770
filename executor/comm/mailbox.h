// The messages on their way from one rank to another over one channel, ranks being threads: the
// sender copies in and goes on, the receiver takes them out in the order sent.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "executor/comm/thread_signal.h"

namespace shardwright {

// A buffer that keeps its storage between messages. Its pages are touched once, not per message.
struct Parcel {
  std::unique_ptr<float[]> data;
  int64_t capacity = 0;  // elements that fit
  int64_t elements = 0;  // elements in it

  void fill(const float* from, int64_t count);  // grows the storage when needed
};

// One sender thread and one receiver thread at a time.
class Mailbox {
 public:
  explicit Mailbox(bool crowded) : posted_(crowded) {}

  void post(const float* data, int64_t elements);

  // Waits for the next message; kReached says that take() will find one.
  Signal::Outcome await(std::chrono::nanoseconds limit, const Alarm& alarm);

  // Takes the next message out and returns its length. It is copied to `into` only when it has
  // the length `expected`. REQUIRES: await() returned kReached since the last take().
  int64_t take(float* into, int64_t expected);

  void wake() { posted_.wake(); }
  int64_t taken() const { return static_cast<int64_t>(taken_); }
  int64_t buffers() const;  // buffers made so far, in use or idle

 private:
  // Parcels move between the two lists by splicing, so that a steady flow allocates nothing.
  std::list<Parcel> acquire(int64_t elements);

  mutable std::mutex mutex_;
  std::list<Parcel> queue_, idle_;
  int64_t made_ = 0;
  Signal posted_;
  uint64_t taken_ = 0;
};

}  // namespace shardwright
