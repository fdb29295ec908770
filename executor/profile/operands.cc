#include "executor/profile/operands.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr Bytes kAlignment = 64;
constexpr int64_t kPatternElements = int64_t{1} << 16;

// Positive, so that AdamW's second moments are; small, so that sums of many calls stay finite. The
// bytes of two bf16 numbers read as one fp32 number are such a number too.
std::vector<float> pattern() {
  std::vector<float> out(kPatternElements);
  for (int64_t i = 0; i < kPatternElements; ++i) {
    out[i] = 0.01f + 0.04f * static_cast<float>(i * 37 % 101) / 101;
  }
  return out;
}

}  // namespace

Operands::Operands(Ops& ops, Bytes cold_bytes)
    : ops_(ops), cold_bytes_(round_up(cold_bytes, kAlignment)) {
  grow(&read_, cold_bytes_);
  grow(&write_, cold_bytes_);
}

Operands::~Operands() {
  if (read_.data != nullptr) ops_.free(read_.data);
  if (write_.data != nullptr) ops_.free(write_.data);
  for (const Block& block : hot_) {
    if (block.data != nullptr) ops_.free(block.data);
  }
}

void Operands::grow(Block* block, Bytes bytes) {
  if (block->bytes >= bytes) return;
  if (block->data != nullptr) ops_.free(block->data);
  *block = {};
  block->data = static_cast<std::byte*>(ops_.allocate(bytes));
  block->bytes = bytes;
  // The pattern in the compute type at the front, then copies of what is there.
  const std::vector<float> values = pattern();
  float* floats = ops_.allocate_floats(kPatternElements);
  void* typed = ops_.allocate(bytes_of(kPatternElements));
  ops_.upload(floats, values.data(), kPatternElements * static_cast<Bytes>(sizeof(float)));
  ops_.cast(floats, typed, kPatternElements);
  const Bytes period = bytes_of(kPatternElements);
  for (Bytes at = 0; at < bytes; at += period) {
    ops_.copy(block->data + at, typed, std::min(period, bytes - at));
  }
  ops_.synchronize();
  ops_.free(floats);
  ops_.free(typed);
}

void* Operands::hot_bytes(size_t slot, Bytes bytes) {
  if (slot >= hot_.size()) hot_.resize(slot + 1);
  grow(&hot_[slot], bytes);
  return hot_[slot].data;
}

void* Operands::hot(size_t slot, int64_t elements) { return hot_bytes(slot, bytes_of(elements)); }

float* Operands::hot_floats(size_t slot, int64_t elements) {
  return static_cast<float*>(hot_bytes(slot, elements * static_cast<Bytes>(sizeof(float))));
}

void* Operands::stretch(Block* pool, Bytes bytes) {
  SW_CHECK_LE(bytes, pool->bytes, "bytes of a cold operand");
  if (pool->next + bytes > pool->bytes) pool->next = 0;
  std::byte* begin = pool->data + pool->next;
  pool->next += round_up(bytes, kAlignment);
  return begin;
}

const void* Operands::cold_read(int64_t elements) { return stretch(&read_, bytes_of(elements)); }
void* Operands::cold_write(int64_t elements) { return stretch(&write_, bytes_of(elements)); }

const float* Operands::cold_read_floats(int64_t elements) {
  return static_cast<const float*>(stretch(&read_, elements * static_cast<Bytes>(sizeof(float))));
}
float* Operands::cold_write_floats(int64_t elements) {
  return static_cast<float*>(stretch(&write_, elements * static_cast<Bytes>(sizeof(float))));
}

}  // namespace shardwright
