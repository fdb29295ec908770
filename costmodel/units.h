// Units and the small enumerations that every part shares.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shardwright {

using Bytes = int64_t;
using Nanoseconds = int64_t;  // simulated and measured time is whole nanoseconds

// Rounds half up; a duration is never negative.
constexpr Nanoseconds to_nanoseconds(double seconds) {
  return seconds <= 0 ? 0 : static_cast<Nanoseconds>(seconds * 1e9 + 0.5);
}
constexpr double to_seconds(Nanoseconds ns) { return static_cast<double>(ns) * 1e-9; }

enum class DataType { kFp32, kBf16, kFp16, kFp8, kNvfp4 };
// Of one stored element. nvfp4 packs two elements and their scales into little more than a byte; it
// is a type of matrix products only (storage_of), so a whole byte is never stored.
constexpr Bytes size_of(DataType type) {
  return type == DataType::kFp32 ? 4 : type == DataType::kFp8 || type == DataType::kNvfp4 ? 1 : 2;
}
// Training in fp8 or nvfp4 keeps weights and activations in bf16 and quantises the operands of its
// matrix products.
constexpr DataType storage_of(DataType type) {
  return type == DataType::kFp8 || type == DataType::kNvfp4 ? DataType::kBf16 : type;
}
const char* name_of(DataType type);                          // "fp32", "bf16", ...
bool parse_data_type(std::string_view name, DataType* out);  // false when unknown

// A parallel axis. `kWorld` stands for all ranks (the gradient norm and the loss cross it).
// Experts have their own: tensor parallel inside an expert, and the replicas of an expert.
enum class Axis { kTp, kCp, kDp, kPp, kEp, kWorld, kTied, kExpertTp, kExpertDp };
const char* name_of(Axis axis);  // "tp", ..., "world", "tied", "etp", "edp"
bool parse_axis(std::string_view name, Axis* out);

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace shardwright
