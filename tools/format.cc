#include "tools/format.h"

#include <cstdio>

namespace shardwright {
namespace {

std::string printed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

}  // namespace

std::string seconds_text(double seconds) {
  if (seconds == 0) return "0 s";
  if (seconds >= 1) return printed("%.3f s", seconds);
  if (seconds >= 1e-3) return printed("%.2f ms", seconds * 1e3);
  return printed("%.2f us", seconds * 1e6);
}

std::string bytes_text(Bytes bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= Bytes{1} << 30) return printed("%.2f GiB", value / (1 << 30));
  if (bytes >= Bytes{1} << 20) return printed("%.2f MiB", value / (1 << 20));
  return printed("%.2f KiB", value / (1 << 10));
}

std::string percent_text(double share) { return printed("%.1f%%", 100 * share); }

std::string rate_text(double per_second) { return printed("%.0f", per_second); }

}  // namespace shardwright
