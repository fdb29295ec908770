#include "executor/model/init.h"

#include <cmath>
#include <numbers>

namespace shardwright {

namespace {

uint64_t fnv1a64(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325ULL;
  for (const char c : text) {
    value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return value;
}

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// The key is mixed too: the streams of neighbouring seeds would otherwise be shifts of each other
// for seeds that differ by a multiple of the increment.
uint64_t key_of(std::string_view name, uint64_t seed) { return mix(fnv1a64(name) ^ seed); }

float normal(uint64_t key, uint64_t index) {
  const uint64_t bits = mix(key + index * 0x9e3779b97f4a7c15ULL);
  const double u1 = (static_cast<double>(bits >> 32) + 1.0) * 0x1p-32;
  const double u2 = static_cast<double>(bits & 0xffffffffULL) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u1)) * std::cos(2.0 * std::numbers::pi * u2));
}

}  // namespace

float init_normal(std::string_view parameter_name, uint64_t global_index, uint64_t seed) {
  return normal(key_of(parameter_name, seed), global_index);
}

void init_normal_range(std::string_view parameter_name, uint64_t first_index, uint64_t count,
                       uint64_t seed, float std, float* out) {
  const uint64_t key = key_of(parameter_name, seed);
  for (uint64_t i = 0; i < count; ++i) out[i] = std * normal(key, first_index + i);
}

}  // namespace shardwright
