#include <bit>

#include "executor/cuda/sums.h"
#include "executor/cuda/token_order.h"

namespace shardwright {
namespace {

// A block has a tile of 512 tokens, one for each thread, and 512 bins, one for each thread.
constexpr int kDigitBits = 9, kBins = 1 << kDigitBits, kTile = kBins, kWarps = kTile / kWarp;

struct SortPass {
  const int32_t* tokens;  // of the first pass, null later
  int64_t first_row, num_rows;
  const int32_t *rows_in, *places_in;  // of later passes
  int32_t *rows_out, *places_out;
  int32_t* counts;  // [tiles][bins]
  int64_t T;
  int shift;
};

__device__ inline int count_bits(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return std::popcount(word);
#endif
}

struct Item {
  int32_t row, place;
  bool real;  // false past the last token
};

__device__ inline Item item_of_thread(const SortPass& a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  if (i >= a.T) return {0, 0, false};
  if (a.tokens == nullptr) return {a.rows_in[i], a.places_in[i], true};
  const int64_t row = a.tokens[i] - a.first_row;
  const bool local = row >= 0 && row < a.num_rows;
  return {static_cast<int32_t>(local ? row : a.num_rows), static_cast<int32_t>(i), true};
}

__device__ inline int bin_of(const SortPass& a, const Item& item) {
  return (item.row >> a.shift) & (kBins - 1);
}

// The lanes of the warp whose items are in the same bin.
__device__ inline uint32_t lanes_of_bin(const Item& item, int bin) {
  uint32_t same = __ballot_sync(kAllLanes, item.real);
#pragma unroll
  for (int bit = 0; bit < kDigitBits; ++bit) {
    const bool set = (bin >> bit & 1) != 0;
    const uint32_t with = __ballot_sync(kAllLanes, set);
    same &= set ? with : ~with;
  }
  return same;
}

// counts[warp][bin] of the tile; returns the item's rank among its warp's items of its bin. Ends
// with a barrier.
__device__ inline int count_tile(const Item& item, int bin, int32_t (*counts)[kBins]) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  for (int w = 0; w < kWarps; ++w) counts[w][thread] = 0;
  const uint32_t same = lanes_of_bin(item, bin);
  const int rank = count_bits(same & ((1u << lane) - 1u));
  __syncthreads();
  if (item.real && rank == 0) counts[warp][bin] = count_bits(same);
  __syncthreads();
  return rank;
}

__global__ void __launch_bounds__(kTile) count_kernel(SortPass a) {
  __shared__ int32_t counts[kWarps][kBins];
  const Item item = item_of_thread(a);
  count_tile(item, bin_of(a, item), counts);
  const int bin = static_cast<int>(threadIdx.x);
  int32_t sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += counts[w][bin];
  a.counts[static_cast<int64_t>(blockIdx.x) * kBins + bin] = sum;
}

// Exclusive sum over the threads of the block.
__device__ inline int32_t sum_before(int32_t value, int32_t* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  int32_t sum = value;
  shared[thread] = sum;
  for (int distance = 1; distance < kBins; distance *= 2) {
    __syncthreads();
    const int32_t before = thread >= distance ? shared[thread - distance] : 0;
    __syncthreads();
    sum += before;
    shared[thread] = sum;
  }
  return sum - value;
}

__global__ void __launch_bounds__(kTile) scatter_kernel(SortPass a) {
  __shared__ int32_t counts[kWarps][kBins];
  __shared__ int32_t sums[kBins];
  const int thread = static_cast<int>(threadIdx.x);
  const Item item = item_of_thread(a);
  const int bin = bin_of(a, item);
  const int rank = count_tile(item, bin, counts);

  // Of this thread's bin: items of all tiles, and of the tiles before this one.
  int32_t all = 0, before = 0;
#pragma unroll 8
  for (unsigned tile = 0; tile < gridDim.x; ++tile) {
    const int32_t count = a.counts[static_cast<int64_t>(tile) * kBins + thread];
    all += count;
    before += tile < blockIdx.x ? count : 0;
  }
  int32_t next = sum_before(all, sums) + before;
  for (int w = 0; w < kWarps; ++w) {
    const int32_t count = counts[w][thread];
    counts[w][thread] = next;
    next += count;
  }
  __syncthreads();
  if (!item.real) return;
  const int32_t to = counts[thread / kWarp][bin] + rank;
  a.rows_out[to] = item.row;
  a.places_out[to] = item.place;
}

int64_t tiles_of(int64_t T) { return ceil_div(T, int64_t{kTile}); }

}  // namespace

Bytes token_order_bytes(int64_t T) {
  return (4 * T + tiles_of(T) * kBins) * static_cast<Bytes>(sizeof(int32_t));
}

TokenOrder order_tokens(Device& device, Stream stream, const int32_t* tokens, int64_t T,
                        int64_t first_row, int64_t num_rows, void* scratch) {
  SW_CHECK_LE(std::max(T, num_rows), INT32_MAX - 1, "tokens and rows are counted in 32 bits");
  auto* memory = static_cast<int32_t*>(scratch);
  int32_t* buffers[2][2] = {{memory, memory + T}, {memory + 2 * T, memory + 3 * T}};
  SortPass pass{tokens,  first_row, num_rows,       nullptr, nullptr,
                nullptr, nullptr,   memory + 4 * T, T,       0};
  const int bits = std::bit_width(static_cast<uint64_t>(num_rows));
  int out = 0;
  do {
    pass.rows_out = buffers[out][0];
    pass.places_out = buffers[out][1];
    const dim3 grid(static_cast<unsigned>(tiles_of(T)));
    launch(device, stream, count_kernel, grid, dim3(kTile), 0, pass);
    launch(device, stream, scatter_kernel, grid, dim3(kTile), 0, pass);
    pass.tokens = nullptr;
    pass.rows_in = pass.rows_out;
    pass.places_in = pass.places_out;
    pass.shift += kDigitBits;
    out ^= 1;
  } while (pass.shift < bits);
  return {pass.rows_in, pass.places_in};
}

}  // namespace shardwright
