#include "executor/profile/sampling.h"

#include <time.h>

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/units.h"

namespace shardwright {

int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Repeats repeats_of(const Sampling& sampling, int64_t call_ns) {
  const int64_t one = std::max<int64_t>(call_ns, 1);
  Repeats out;
  out.calls = std::max<int64_t>(1, ceil_div(sampling.sample_ns, one));
  const int64_t affordable = sampling.point_ns / (out.calls * one);
  out.samples =
      static_cast<int>(std::clamp<int64_t>(affordable, sampling.samples, sampling.most_samples));
  return out;
}

double median(std::vector<double> values) {
  SW_CHECK(!values.empty(), "median of nothing");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double median_seconds(const Repeats& repeats, const Clock& clock,
                      const std::function<void()>& call) {
  std::vector<double> samples;
  for (int i = 0; i < repeats.samples; ++i) {
    const int64_t begin_ns = clock();
    for (int64_t j = 0; j < repeats.calls; ++j) call();
    samples.push_back(to_seconds(clock() - begin_ns) / static_cast<double>(repeats.calls));
  }
  return median(std::move(samples));
}

}  // namespace shardwright
