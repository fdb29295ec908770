// A caching allocator for one rank: a training step asks for the same blocks again and again, and
// fresh pages from the system would cost a page fault per 4 KiB each time.
//
// Freed blocks are kept by size class and handed out again; nothing returns to the system before
// destruction, except when the system has no more memory.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "costmodel/units.h"

namespace shardwright {

class CachingAllocator {
 public:
  explicit CachingAllocator(int rank) : rank_(rank) {}
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // 64-byte aligned, contents undefined; 0 bytes give a valid block too. Throws ExecError when
  // the system has no memory left even after the kept blocks were returned to it.
  void* allocate(Bytes bytes);
  // `block` came from allocate() of this object and was not freed since; null is ignored.
  void free(void* block);

  // Of requested sizes, without rounding and without kept blocks.
  Bytes live_bytes() const { return live_bytes_; }
  Bytes peak_bytes() const { return peak_bytes_; }
  void reset_peak() { peak_bytes_ = live_bytes_; }

 private:
  struct Block {
    Bytes requested_bytes, class_bytes;
  };
  void* take_kept(Bytes class_bytes);  // null when none is kept
  void release_kept();

  int rank_;
  Bytes live_bytes_ = 0, peak_bytes_ = 0;
  std::unordered_map<void*, Block> live_;
  std::map<Bytes, std::vector<void*>> kept_;  // by class_bytes
};

// The size that a request is rounded up to: at most 1/8 above it (and at least 64 bytes), so that
// slightly different requests share blocks.
Bytes size_class_bytes(Bytes requested_bytes);

}  // namespace shardwright
