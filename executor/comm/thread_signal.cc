#include "executor/comm/thread_signal.h"

#include <algorithm>

#include "executor/comm/wait.h"

// All atomics here are sequentially consistent: a sleeper adds itself to sleepers_ and then looks
// at the count, a waker changes the count and then looks at sleepers_, and one of them must see the
// other.
namespace shardwright {

void Alarm::raise(int rank, const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (raised_.load()) return;
  reason_ = "rank " + std::to_string(rank) + " failed: " + what;
  raised_.store(true);
}

std::string Alarm::reason() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reason_;
}

void Signal::advance() {
  state_.fetch_add(1);
  wake();
}

void Signal::wake() {
  if (sleepers_.load() == 0) return;
  // Whoever has looked but does not wait yet holds the mutex: passing through it waits for that.
  { const std::lock_guard<std::mutex> lock(mutex_); }
  wake_.notify_all();
}

bool Signal::settled(uint64_t target, const Alarm* alarm, Outcome* outcome) const {
  const uint64_t state = state_.load();
  if ((state & kClosedBit) != 0) {
    *outcome = Outcome::kClosed;
  } else if (state >= target) {
    *outcome = Outcome::kReached;
  } else if (alarm != nullptr && alarm->raised()) {
    *outcome = Outcome::kFailed;
  } else {
    return false;
  }
  return true;
}

Signal::Outcome Signal::await(uint64_t target, std::chrono::nanoseconds limit, const Alarm* alarm) {
  Outcome outcome = Outcome::kLate;
  if (settled(target, alarm, &outcome)) return outcome;
  Wait wait(limit, crowded_);
  while (!settled(target, alarm, &outcome)) {
    const Wait::Next next = wait.pause();
    if (next == Wait::Next::kLate) return Outcome::kLate;
    if (next == Wait::Next::kSleep) sleep(target, wait.left(), alarm);
  }
  return outcome;
}

void Signal::sleep(uint64_t target, std::chrono::nanoseconds limit, const Alarm* alarm) {
  // A clock plus "forever" would overflow; await() calls again when the hour is over.
  limit = std::min<std::chrono::nanoseconds>(limit, std::chrono::hours(1));
  Outcome ignored;
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait_for(lock, limit, [&] { return settled(target, alarm, &ignored); });
  sleepers_.fetch_sub(1);
}

bool Signal::close(uint64_t target) {
  uint64_t state = state_.load();
  while ((state & kClosedBit) != 0 || state < target) {
    if (state_.compare_exchange_weak(state, state | kClosedBit)) {
      wake();
      return true;
    }
  }
  return false;
}

}  // namespace shardwright
