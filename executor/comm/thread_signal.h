// What ranks that are threads wait on: a Signal counts up, and a rank waits until the count has
// reached a value; the world's Alarm ends all those waits when a rank has failed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

namespace shardwright {

// Which rank failed first and why. Set once; later failures are consequences and are ignored.
class Alarm {
 public:
  void raise(int rank, const std::string& what);
  bool raised() const { return raised_.load(); }
  std::string reason() const;  // "rank 3 failed: ..."

 private:
  std::atomic<bool> raised_{false};
  mutable std::mutex mutex_;
  std::string reason_;
};

// A count that only grows. What a thread wrote before advance() is visible to every thread whose
// await() has seen that count.
class Signal {
 public:
  enum class Outcome {
    kReached,
    kClosed,  // another waiter gave up with close()
    kFailed,  // the alarm was raised
    kLate,    // the limit has passed
  };

  // crowded: see Wait. The alarm may be null: then the wait ends only by the count or the limit.
  explicit Signal(bool crowded) : crowded_(crowded) {}

  void advance();
  Outcome await(uint64_t target, std::chrono::nanoseconds limit, const Alarm* alarm);

  // Gives up waiting for `target`: from then on every await() ends as kClosed. When the target has
  // been reached meanwhile it does nothing and returns false; so either all or none see it reached.
  bool close(uint64_t target);

  // Makes sleeping waiters look at the alarm.
  void wake();

 private:
  // The highest bit of state_ says closed, the others are the count.
  static constexpr uint64_t kClosedBit = uint64_t{1} << 63;

  bool settled(uint64_t target, const Alarm* alarm, Outcome* outcome) const;
  void sleep(uint64_t target, std::chrono::nanoseconds limit, const Alarm* alarm);

  const bool crowded_;
  std::atomic<uint64_t> state_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace shardwright
