// Pinned host memory that is handed out in small blocks and returned all at once: the runtime's own
// call for it takes long and stops the device.
#pragma once

#include <algorithm>
#include <vector>

#include "executor/cuda/device.h"

namespace shardwright {

class PinnedBlocks {
 public:
  explicit PinnedBlocks(Device& device) : device_(device) {}
  ~PinnedBlocks() {
    for (std::byte* piece : pieces_) device_.free_pinned(piece);
  }
  PinnedBlocks(const PinnedBlocks&) = delete;
  PinnedBlocks& operator=(const PinnedBlocks&) = delete;

  // 256-byte aligned, contents undefined; lives as long as this object.
  std::byte* take(Bytes bytes) {
    const Bytes rounded = round_up(std::max<Bytes>(bytes, 1), 256);
    if (rounded > left_) {
      left_ = std::max(rounded, kPieceBytes);
      pieces_.push_back(static_cast<std::byte*>(device_.allocate_pinned(left_)));
      next_ = pieces_.back();
    }
    std::byte* block = next_;
    next_ += rounded;
    left_ -= rounded;
    return block;
  }

 private:
  static constexpr Bytes kPieceBytes = Bytes{1} << 20;
  Device& device_;
  std::vector<std::byte*> pieces_;
  std::byte* next_ = nullptr;
  Bytes left_ = 0;
};

}  // namespace shardwright
