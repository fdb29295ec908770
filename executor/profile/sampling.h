// How a call is timed: batches long enough for the clock, and the median of several.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace shardwright {

using Clock = std::function<int64_t()>;  // nanoseconds since some fixed point

// Processor time of the calling thread. Kernels never sleep, so on a quiet machine this is wall
// time; on a busy one the time that other programs take from the core is not counted.
int64_t thread_cpu_ns();

struct Sampling {
  int samples = 3;                       // at least
  int most_samples = 9;                  // of short calls, as far as point_ns goes
  int64_t sample_ns = 200'000;           // a sample lasts at least this long, by repeating the call
  int64_t point_ns = 1'500'000;          // what further samples may take together
  int64_t longest_warm_ns = 20'000'000;  // a longer call is not run once more to gauge it
};

// How many calls make up one sample, and how many samples to take, of a call that takes `call_ns`.
struct Repeats {
  int64_t calls = 1;
  int samples = 3;
};
Repeats repeats_of(const Sampling& sampling, int64_t call_ns);

// The middle value, or the mean of the two middle ones. REQUIRES: not empty.
double median(std::vector<double> values);

// Seconds of one call: the median over the samples.
double median_seconds(const Repeats& repeats, const Clock& clock,
                      const std::function<void()>& call);

}  // namespace shardwright
