#include "tests/bench/machine_load.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

namespace shardwright {
namespace {

double own_ticks() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return (seconds(usage.ru_utime) + seconds(usage.ru_stime)) *
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

OtherLoad::OtherLoad() : start_(now()) {}

OtherLoad::Ticks OtherLoad::now() {
  // "cpu  user nice system idle iowait irq softirq steal ...", summed over the cores. Stolen time
  // went to another guest of the same host.
  std::ifstream stat("/proc/stat");
  std::string name;
  std::array<double, 8> ticks{};
  stat >> name;
  for (double& value : ticks) stat >> value;
  Ticks out;
  for (double value : ticks) out.all += value;
  out.others = out.all - ticks[3] - ticks[4] - own_ticks();
  return out;
}

double OtherLoad::share() const {
  const Ticks end = now();
  if (end.all <= start_.all) return 0;
  return std::clamp((end.others - start_.others) / (end.all - start_.all), 0.0, 1.0);
}

}  // namespace shardwright
