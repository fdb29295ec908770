// The execution model on the host: blocks run one after another, the threads of a block as fibers
// that switch at barriers and warp collectives.
//
// It finds: wrong indices, masks and reductions; shared memory that is read before it is written
// (it starts as NaN); threads that miss a barrier; lanes that miss a shuffle; copies that are used
// before they were waited for. Between two barriers threads run one after another in a fixed order
// (or its reverse), so most missing barriers show as NaN or old values, but not all. It cannot find
// data races in general, wrong assumptions about caches, most misalignment, or slowness.
//
// Every mistake of a kernel throws BrokenInvariant naming kernel, block and thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "executor/cuda/device.h"

namespace shardwright::emulation {

// Which of the threads that can go on runs first: the lowest, or the highest.
enum class ThreadOrder { kForward, kReverse };

// Runs the whole grid; one launch of the process at a time, others wait.
void run_grid(const Launch& launch, ThreadOrder order);

// Where in a kernel source.
struct Site {
  const char* file = __builtin_FILE();
  int line = __builtin_LINE();
  bool operator==(const Site&) const = default;
};

// --- for the thread that is running ---
unsigned lane_id();
std::byte* dynamic_shared_memory();
bool in_shared_memory(const void* address, size_t bytes);
[[noreturn]] void fail(Site site, const std::string& what);
inline void check(bool condition, Site site, const char* what) {
  if (!condition) fail(site, what);
}

void block_barrier(Site site);

// Waits until all lanes of `mask` are here with the same name and mask. The last one runs `run`
// with every lane's argument, which lies on that lane's stack.
struct WarpCall {
  uint32_t mask;
  std::array<void*, 32> arguments;
  Site site;
};
void warp_collective(const char* name, uint32_t mask, Site site, void* argument,
                     void (*run)(const WarpCall&));

// Copies of 16 bytes that happen when they are waited for; until then the target is NaN.
void start_copy(void* shared, const void* global, bool valid, Site site);
void commit_copies();
void wait_copies(int groups_left);

}  // namespace shardwright::emulation
