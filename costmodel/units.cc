#include "costmodel/units.h"

namespace shardwright {

const char* name_of(DataType type) {
  switch (type) {
    case DataType::kFp32:
      return "fp32";
    case DataType::kBf16:
      return "bf16";
    case DataType::kFp16:
      return "fp16";
    case DataType::kFp8:
      return "fp8";
    case DataType::kNvfp4:
      return "nvfp4";
  }
  return "?";
}

bool parse_data_type(std::string_view name, DataType* out) {
  for (DataType type :
       {DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kFp8, DataType::kNvfp4}) {
    if (name != name_of(type)) continue;
    *out = type;
    return true;
  }
  return false;
}

const char* name_of(Axis axis) {
  switch (axis) {
    case Axis::kTp:
      return "tp";
    case Axis::kCp:
      return "cp";
    case Axis::kDp:
      return "dp";
    case Axis::kPp:
      return "pp";
    case Axis::kEp:
      return "ep";
    case Axis::kWorld:
      return "world";
    case Axis::kTied:
      return "tied";
    case Axis::kExpertTp:
      return "etp";
    case Axis::kExpertDp:
      return "edp";
  }
  return "?";
}

bool parse_axis(std::string_view name, Axis* out) {
  for (Axis axis : {Axis::kTp, Axis::kCp, Axis::kDp, Axis::kPp, Axis::kEp, Axis::kWorld,
                    Axis::kTied, Axis::kExpertTp, Axis::kExpertDp}) {
    if (name != name_of(axis)) continue;
    *out = axis;
    return true;
  }
  return false;
}

}  // namespace shardwright
