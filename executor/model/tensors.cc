#include "executor/model/tensors.h"

#include "costmodel/check.h"

namespace shardwright {

SavedSet::SavedSet(Ops& ops, const std::vector<SavedTensor>& tensors) : ops_(ops) {
  entries_.reserve(tensors.size());
  for (const SavedTensor& tensor : tensors) {
    entries_.push_back({tensor.name, tensor.layer, ops.allocate(tensor.bytes)});
  }
}

SavedSet::~SavedSet() {
  for (const Entry& entry : entries_) ops_.free(entry.data);
}

void* SavedSet::find(Saved name, int64_t layer) const {
  for (const Entry& entry : entries_) {
    if (entry.name == name && entry.layer == layer) return entry.data;
  }
  return nullptr;
}

ScratchSet::ScratchSet(Ops& ops, const ModelSpec& model, const std::vector<ChunkShape>& chunks)
    : ops_(ops) {
  for (const ScratchTensor& tensor : scratch_tensors(model, chunks)) {
    blocks_[static_cast<size_t>(tensor.name)] = ops.allocate(tensor.bytes);
  }
  // Executable models have layers of one shape: those of one stand for all.
  for (const SavedTensor& tensor : rebuilt_tensors(model, chunks)) {
    rebuilt_.emplace_back(tensor.name, ops.allocate(tensor.bytes));
  }
}

ScratchSet::~ScratchSet() {
  for (void* block : blocks_) {
    if (block != nullptr) ops_.free(block);
  }
  for (const auto& [name, block] : rebuilt_) ops_.free(block);
}

void* ScratchSet::rebuilt(Saved name) const {
  for (const auto& [have, block] : rebuilt_) {
    if (have == name) return block;
  }
  return nullptr;
}

}  // namespace shardwright
