#include "executor/cuda/emulation/kernel_host.h"

#include "executor/cuda/emulation/mma_host.h"

namespace shardwright::emulation {
namespace {

struct Vote {
  bool mine;
  uint32_t result;
};

// f(lane, its argument) for every lane of the call.
template <typename Argument, typename F>
void for_lanes(const WarpCall& call, F&& f) {
  for (uint32_t lanes = call.mask; lanes != 0; lanes &= lanes - 1) {
    const int lane = std::countr_zero(lanes);
    f(lane, *static_cast<Argument*>(call.arguments[static_cast<size_t>(lane)]));
  }
}

}  // namespace

void run_shuffle(const WarpCall& call) {
  for_lanes<Shuffled>(call, [&](int lane, Shuffled& mine) {
    const int from = mine.from < 0 ? lane : mine.from;
    if ((call.mask >> from & 1u) == 0) {
      fail(call.site, "lane " + std::to_string(lane) + " reads lane " + std::to_string(from) +
                          ", which is not in the mask");
    }
    mine.result = static_cast<Shuffled*>(call.arguments[static_cast<size_t>(from)])->value;
  });
}

uint32_t ballot(const char* name, uint32_t mask, bool vote, Site site) {
  Vote mine{vote, 0};
  warp_collective(name, mask, site, &mine, [](const WarpCall& call) {
    uint32_t votes = 0;
    for_lanes<Vote>(call, [&](int lane, Vote& v) { votes |= uint32_t{v.mine} << lane; });
    for_lanes<Vote>(call, [&](int, Vote& v) { v.result = votes; });
  });
  return mine.result;
}

}  // namespace shardwright::emulation

void __syncwarp(uint32_t mask, shardwright::emulation::Site site) {
  shardwright::emulation::warp_collective("__syncwarp", mask, site, nullptr,
                                          [](const shardwright::emulation::WarpCall&) {});
}
