// How a rank waits for others without taking a core from them: it spins for a few microseconds,
// then yields the core for some time, then asks to be put to sleep.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace shardwright {

// Processors that this process may run on (its affinity mask), at least 1.
int usable_cores();

// One wait, from its construction on. Call pause() whenever what is awaited is not there yet.
class Wait {
 public:
  enum class Next {
    kAgain,  // look again: pause() has spun or yielded
    kSleep,  // look again after sleeping, at most left() long
    kLate,   // the limit has passed
  };

  static constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();

  // crowded: more ranks than cores, so that spinning would only keep the awaited one from running.
  Wait(std::chrono::nanoseconds limit, bool crowded);

  Next pause();
  std::chrono::nanoseconds elapsed() const;
  std::chrono::nanoseconds left() const;  // not negative

 private:
  int64_t begin_ns_;
  std::chrono::nanoseconds limit_;
  bool crowded_;
  int64_t turns_ = 0;
};

// "12.3 ms", for messages.
std::string in_milliseconds(std::chrono::nanoseconds time);

}  // namespace shardwright
