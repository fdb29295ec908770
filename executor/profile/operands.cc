#include "executor/profile/operands.h"

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int64_t kAlignElements = 16;  // 64 bytes

// Positive, so that AdamW's second moments are; small, so that sums of many calls stay finite.
void fill_with_values(float* data, int64_t elements) {
  for (int64_t i = 0; i < elements; ++i) {
    data[i] = 0.01f + 0.04f * static_cast<float>(i * 37 % 101) / 101;
  }
}

}  // namespace

Operands::Operands(Ops& ops, int64_t cold_elements)
    : ops_(ops), cold_elements_(round_up(cold_elements, kAlignElements)) {
  grow(&read_, cold_elements_);
  grow(&write_, cold_elements_);
}

Operands::~Operands() {
  ops_.free(read_.data);
  ops_.free(write_.data);
  for (const Block& block : hot_) ops_.free(block.data);
}

void Operands::grow(Block* block, int64_t elements) {
  if (block->elements >= elements) return;
  ops_.free(block->data);
  *block = {};
  block->data = ops_.allocate_floats(elements);
  block->elements = elements;
  fill_with_values(block->data, elements);
}

float* Operands::hot(size_t slot, int64_t elements) {
  if (slot >= hot_.size()) hot_.resize(slot + 1);
  grow(&hot_[slot], elements);
  return hot_[slot].data;
}

float* Operands::stretch(Block* pool, int64_t elements) {
  SW_CHECK_LE(elements, pool->elements, "elements of a cold operand");
  if (pool->next + elements > pool->elements) pool->next = 0;
  float* begin = pool->data + pool->next;
  pool->next += round_up(elements, kAlignElements);
  return begin;
}

const float* Operands::cold_read(int64_t elements) { return stretch(&read_, elements); }
float* Operands::cold_write(int64_t elements) { return stretch(&write_, elements); }

}  // namespace shardwright
