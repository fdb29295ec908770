// What host communicators can move: fp32 in plain memory. Anything else is a broken invariant: the
// executor refuses other compute types on CPU ranks before a rank starts (check_executable).
#pragma once

#include "costmodel/check.h"
#include "costmodel/units.h"

namespace shardwright {

inline float* host_fp32(void* data, DataType type) {
  SW_CHECK(type == DataType::kFp32, "a host communicator was given " << name_of(type));
  return static_cast<float*>(data);
}
inline const float* host_fp32(const void* data, DataType type) {
  return host_fp32(const_cast<void*>(data), type);
}

}  // namespace shardwright
