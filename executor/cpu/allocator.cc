#include "executor/cpu/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "costmodel/check.h"
#include "executor/exec_error.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace shardwright {
namespace {

constexpr Bytes kAlignment = 64;
constexpr Bytes kHugePage = Bytes{2} << 20;

// Large blocks lie on huge pages where the system grants them: a GEMM walks several matrices at
// once and would otherwise miss the TLB on every row.
void* system_allocate(Bytes bytes) {
  const bool huge = bytes >= kHugePage;
  const Bytes alignment = huge ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(alignment, round_up(bytes, alignment));
#ifdef __linux__
  // Advice only: refusal leaves ordinary pages.
  if (huge && block != nullptr) madvise(block, round_up(bytes, alignment), MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

Bytes size_class_bytes(Bytes requested_bytes) {
  const Bytes bytes = std::max(requested_bytes, kAlignment);
  const auto power = static_cast<Bytes>(std::bit_floor(static_cast<uint64_t>(bytes)));
  return round_up(bytes, std::max(kAlignment, power / 8));
}

CachingAllocator::~CachingAllocator() {
  release_kept();
  for (const auto& [block, sizes] : live_) std::free(block);
}

void* CachingAllocator::allocate(Bytes bytes) {
  SW_CHECK_GE(bytes, 0, "bytes to allocate");
  const Bytes rounded = size_class_bytes(bytes);
  void* block = take_kept(rounded);
  if (block == nullptr) block = system_allocate(rounded);
  if (block == nullptr) {
    release_kept();
    block = system_allocate(rounded);
  }
  if (block == nullptr) {
    throw ExecError(rank_, "allocate",
                    "no memory for " + std::to_string(bytes) + " bytes (" +
                        std::to_string(live_bytes_) + " bytes live)");
  }
  live_[block] = {bytes, rounded};
  live_bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
  return block;
}

void CachingAllocator::free(void* block) {
  if (block == nullptr) return;
  const auto found = live_.find(block);
  SW_CHECK(found != live_.end(), "block was not allocated here, or was freed before");
  live_bytes_ -= found->second.requested_bytes;
  kept_[found->second.class_bytes].push_back(block);
  live_.erase(found);
}

void* CachingAllocator::take_kept(Bytes class_bytes) {
  const auto found = kept_.find(class_bytes);
  if (found == kept_.end() || found->second.empty()) return nullptr;
  void* block = found->second.back();
  found->second.pop_back();
  return block;
}

void CachingAllocator::release_kept() {
  for (auto& [bytes, blocks] : kept_) {
    for (void* block : blocks) std::free(block);
  }
  kept_.clear();
}

}  // namespace shardwright
