#include "executor/comm/staging.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

void check_type(DataType type) {
  SW_CHECK(type == DataType::kFp32 || type == DataType::kBf16,
           "the staged communicator was given " << name_of(type));
}

}  // namespace

float wide(uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); }

uint16_t narrow(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  // The quiet bit: a NaN whose payload lies in the lower half would become infinite.
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  // Half of the last kept place, less one when that place is even: a tie then rounds to even.
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void* Staging::reserve(Block* block, Bytes bytes) {
  if (bytes > block->bytes) {
    block->bytes = std::max(bytes, 2 * block->bytes);
    block->data = ops_.host_block(block->bytes);
  }
  return block->data;
}

float* Staging::floats(int64_t elements) {
  return static_cast<float*>(reserve(&block_, elements * static_cast<Bytes>(sizeof(float))));
}

double* Staging::doubles(int64_t elements) {
  return static_cast<double*>(reserve(&block_, elements * static_cast<Bytes>(sizeof(double))));
}

void Staging::download(float* floats, const void* from, int64_t elements, DataType type) {
  check_type(type);
  if (elements == 0) return;
  const Bytes bytes = elements * size_of(type);
  if (type == DataType::kFp32) {
    ops_.download(floats, from, bytes);
    ops_.synchronize();
    return;
  }
  const uint16_t* const halves = static_cast<const uint16_t*>(reserve(&narrow_, bytes));
  ops_.download(narrow_.data, from, bytes);
  ops_.synchronize();
  std::transform(halves, halves + elements, floats, wide);
}

void Staging::upload(void* to, const float* floats, int64_t elements, DataType type) {
  check_type(type);
  if (elements == 0) return;
  const Bytes bytes = elements * size_of(type);
  if (type == DataType::kFp32) {
    ops_.upload(to, floats, bytes);
  } else {
    uint16_t* const halves = static_cast<uint16_t*>(reserve(&narrow_, bytes));
    std::transform(floats, floats + elements, halves, narrow);
    ops_.upload(to, halves, bytes);
  }
  ops_.synchronize();
}

void Staging::download(double* doubles, const double* from, int64_t elements) {
  if (elements == 0) return;
  ops_.download(doubles, from, elements * static_cast<Bytes>(sizeof(double)));
  ops_.synchronize();
}

void Staging::upload(double* to, const double* doubles, int64_t elements) {
  if (elements == 0) return;
  ops_.upload(to, doubles, elements * static_cast<Bytes>(sizeof(double)));
  ops_.synchronize();
}

}  // namespace shardwright
