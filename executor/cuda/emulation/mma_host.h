// The host's versions of mma.h's instructions: the last lane of the warp to arrive gathers all
// fragments, does the whole product or load, and hands every lane its part.
#pragma once

#include <cstdint>

#include "executor/cuda/emulation/execution.h"

namespace shardwright {

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  emulation::Site site = {});
void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row, emulation::Site site = {});
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row, emulation::Site site = {});

inline void cp_async_16(void* shared, const void* global, bool valid, emulation::Site site = {}) {
  emulation::start_copy(shared, global, valid, site);
}
inline void cp_async_commit() { emulation::commit_copies(); }
template <int N>
void cp_async_wait() {
  emulation::wait_copies(N);
}

}  // namespace shardwright
