#include "executor/comm/wait.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "executor/comm/communicator.h"

namespace shardwright {
namespace {

// Short, because the awaited rank may be on this very core although there are cores enough: other
// programs take some, and each wait then lasts this long for nothing. A yield on an idle core costs
// 0.3 us, which is little more than spinning; a sleep and a wake-up cost 50 us and more.
constexpr int64_t kSpinNs = 3'000;
constexpr int64_t kYieldNs = 200'000;
// Looks between two readings of the clock while spinning.
constexpr int kTurnsPerReading = 32;
// With more ranks than cores a yield lets the awaited rank run; when some did not help, the wait
// is a long one.
constexpr int kCrowdedYields = 8;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Wait::Wait(std::chrono::nanoseconds limit, bool crowded)
    : begin_ns_(monotonic_ns()), limit_(limit), crowded_(crowded) {}

Wait::Next Wait::pause() {
  ++turns_;
  if (!crowded_ && turns_ % kTurnsPerReading != 0) {
    relax();
    return Next::kAgain;
  }
  const auto waited = elapsed();
  if (waited >= limit_) return Next::kLate;
  if (!crowded_ && waited.count() < kSpinNs) return Next::kAgain;
  if (crowded_ ? turns_ <= kCrowdedYields : waited.count() < kYieldNs) {
    turns_ += crowded_ ? 0 : kTurnsPerReading - 1;  // a yield is slow: read the clock each time
    sched_yield();
    return Next::kAgain;
  }
  turns_ += crowded_ ? 0 : kTurnsPerReading - 1;
  return Next::kSleep;
}

std::chrono::nanoseconds Wait::elapsed() const {
  return std::chrono::nanoseconds(monotonic_ns() - begin_ns_);
}

std::chrono::nanoseconds Wait::left() const {
  return std::max(std::chrono::nanoseconds(0), limit_ - elapsed());
}

std::string in_milliseconds(std::chrono::nanoseconds time) {
  char text[48];
  std::snprintf(text, sizeof(text), "%.1f ms", static_cast<double>(time.count()) * 1e-6);
  return text;
}

}  // namespace shardwright
