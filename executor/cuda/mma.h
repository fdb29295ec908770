// Tensor-core instructions and asynchronous copies behind one name each, so that attention is
// written once. Fragment layouts are PTX's own (PTX ISA, "Matrix Fragments for mma.m16n8k16" and
// "ldmatrix"); with lane = threadIdx % 32, group = lane / 4, quad = lane % 4:
//   a[0] = A[group][2 quad, +1]        a[2] = A[group][2 quad + 8, +1]
//   a[1] = A[group + 8][2 quad, +1]    a[3] = A[group + 8][2 quad + 8, +1]
//   b[0] = B[2 quad, +1][group]        b[1] = B[2 quad + 8, +1][group]
//   d[0], d[1] = D[group][2 quad, +1]  d[2], d[3] = D[group + 8][2 quad, +1]
// All 32 lanes of a warp must make each call together. Compute capability 8.0 and later.
#pragma once

#include "executor/cuda/kernel.h"

#ifndef __CUDACC__
#include "executor/cuda/emulation/mma_host.h"
#else

namespace shardwright {

// d[16,8] += a[16,16] b[16,8], bf16 in, fp32 sums.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4],
                                             const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of bf16: lanes 8i .. 8i+7 give the addresses of matrix i's rows (16 bytes
// each, 16-byte aligned, in shared memory); r[i] = M_i[group][2 quad, +1].
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}
// The same, transposed: r[i] = M_i[2 quad, +1][group].
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

// Copies 16 bytes to shared memory behind this thread's back; zeros when not `valid` (`global` is
// then not read, but must still be an address of the tensor). Both 16-byte aligned.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(to), "l"(__cvta_generic_to_global(global)), "r"(bytes)
               : "memory");
}
// Closes the group of copies that this thread has started since the last call.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most N of this thread's groups are under way. Other threads see the copies after
// the next __syncthreads().
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory");
}

}  // namespace shardwright
#endif
