#include "executor/cuda/emulation/execution.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <vector>

#include "costmodel/check.h"
#include "executor/cuda/emulation/fiber.h"
#include "executor/cuda/emulation/kernel_host.h"
#include "executor/cuda/emulation/symbols.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace shardwright::emulation {
namespace {

constexpr int kPoison = 0xff;  // every float and bf16 made of it is NaN, every integer -1
constexpr unsigned kWarp = 32;
constexpr size_t kGuardBytes = 256;  // behind the dynamic shared memory

#ifdef __SANITIZE_ADDRESS__
// Without its checks: it counts the gaps between variables as theirs.
__attribute__((no_sanitize_address)) void poison(std::byte* at, size_t bytes) {
  for (volatile std::byte* p = at; bytes > 0; --bytes) *p++ = std::byte{kPoison};
}
#else
void poison(std::byte* at, size_t bytes) { std::memset(at, kPoison, bytes); }
#endif

struct PendingCopy {
  void* to;
  const void* from;
  bool valid;
  int64_t group;
};

struct Thread {
  Fiber fiber;
  uint3 index{};
  const char* waits_for = nullptr;  // null: running or ready
  Site site{nullptr, 0};
  uint32_t mask = 0;
  void* argument = nullptr;
  bool done = false;
  std::deque<PendingCopy> copies;
  int64_t groups = 0;  // committed
};

// Bits of the lanes of one warp.
struct Warp {
  uint32_t ready = 0, collecting = 0;
};

class Block {
 public:
  void run(const Launch& launch, ThreadOrder order);
  void thread_main();
  void barrier(Site site);
  void collective(const char* name, uint32_t mask, Site site, void* argument,
                  void (*run)(const WarpCall&));
  [[noreturn]] void fail(Site site, const std::string& what);

  Thread& current() { return *threads_[at_]; }
  unsigned lane() const { return at_ % kWarp; }
  std::byte* dynamic() { return dynamic_; }
  bool in_shared(const void* address, size_t bytes) const;

 private:
  void prepare(const Launch& launch);
  void run_block();
  void make_all_ready();
  void leave(const char* waits_for, Site site);  // to the next ready thread, or the host
  std::optional<unsigned> next_ready() const;
  std::optional<unsigned> first_of(uint32_t lanes, unsigned warp) const;
  std::string where(unsigned thread) const;
  std::string stuck() const;

  Fiber host_;
  std::vector<std::unique_ptr<Thread>> threads_;  // kept between launches
  std::vector<Warp> warps_;
  unsigned count_ = 0, at_ = 0, at_barrier_ = 0, left_ = 0;
  Site barrier_site_{nullptr, 0};
  const Launch* launch_ = nullptr;
  ThreadOrder order_ = ThreadOrder::kForward;
  std::vector<std::byte> dynamic_memory_;
  std::byte* dynamic_ = nullptr;
  std::exception_ptr error_;
};

// Kernels use it through functions without an object, as on a device.
Block& the_block() {
  static Block* block = new Block;  // never destroyed: its stacks may be in use at exit
  return *block;
}

void Block::run(const Launch& launch, ThreadOrder order) {
  launch_ = &launch;
  order_ = order;
  prepare(launch);
  blockDim = {launch.block[0], launch.block[1], launch.block[2]};
  gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block();
    }
  }
}

void Block::prepare(const Launch& launch) {
  const auto [x, y, z] = launch.block;
  count_ = x * y * z;
  while (threads_.size() < count_) {
    threads_.push_back(std::make_unique<Thread>());
    threads_.back()->fiber.start([] { the_block().thread_main(); });
  }
  for (unsigned i = 0; i < count_; ++i) threads_[i]->index = {i % x, i / x % y, i / (x * y)};
  const auto bytes = static_cast<size_t>(launch.shared_bytes);
  constexpr size_t kAlignment = 128;
  dynamic_memory_.assign(bytes + kGuardBytes + kAlignment, std::byte{kPoison});
  const auto start = reinterpret_cast<uintptr_t>(dynamic_memory_.data());
  dynamic_ = dynamic_memory_.data() +
             (round_up(static_cast<int64_t>(start), kAlignment) - static_cast<int64_t>(start));
}

void Block::make_all_ready() {
  warps_.assign((count_ + kWarp - 1) / kWarp, Warp{});
  for (unsigned i = 0; i < count_; ++i) warps_[i / kWarp].ready |= 1u << i % kWarp;
}

void Block::run_block() {
  const auto bytes = static_cast<size_t>(launch_->shared_bytes);
  for (const SharedVariable& variable : Symbols::get().shared_variables()) {
    poison(variable.address, variable.bytes);
  }
  std::memset(dynamic_, kPoison, bytes + kGuardBytes);
  for (unsigned i = 0; i < count_; ++i) {
    threads_[i]->done = false;
    threads_[i]->waits_for = nullptr;
    threads_[i]->copies.clear();
    threads_[i]->groups = 0;
  }
  make_all_ready();
  at_barrier_ = 0;
  left_ = 0;
  error_ = nullptr;
  at_ = order_ == ThreadOrder::kForward ? 0 : count_ - 1;
  threadIdx = current().index;
  Fiber::switch_between(host_, current().fiber);
  const std::string problem = error_ == nullptr && left_ < count_ ? stuck() : "";
  if (error_ != nullptr || !problem.empty()) {
    // What the threads were doing is forgotten.
    for (auto& thread : threads_) thread->fiber.start([] { the_block().thread_main(); });
    if (error_ != nullptr) std::rethrow_exception(error_);
    throw BrokenInvariant(problem);
  }
  for (size_t i = 0; i < kGuardBytes; ++i) {
    SW_CHECK(dynamic_[bytes + i] == std::byte{kPoison},
             where(0) << ": wrote byte " << i << " behind its " << bytes
                      << " bytes of dynamic shared memory");
  }
}

void Block::thread_main() {
  current().fiber.entered();
  for (;;) {  // a turn per block
    try {
      launch_->body();
    } catch (...) {
      error_ = std::current_exception();
    }
    if (error_ != nullptr) Fiber::switch_between(current().fiber, host_);
    current().done = true;
    ++left_;
    leave(nullptr, {nullptr, 0});
  }
}

std::optional<unsigned> Block::first_of(uint32_t lanes, unsigned warp) const {
  if (lanes == 0) return std::nullopt;
  const bool forward = order_ == ThreadOrder::kForward;
  const int lane = forward ? std::countr_zero(lanes) : 31 - std::countl_zero(lanes);
  return warp * kWarp + static_cast<unsigned>(lane);
}

// A warp runs as far as it can before the next one gets its turn.
std::optional<unsigned> Block::next_ready() const {
  const unsigned warp = at_ / kWarp, lane = at_ % kWarp;
  const auto count = static_cast<unsigned>(warps_.size());
  const bool forward = order_ == ThreadOrder::kForward;
  const uint32_t beyond = forward ? ~((2u << lane) - 1u) : (1u << lane) - 1u;
  if (const auto next = first_of(warps_[warp].ready & beyond, warp)) return next;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned other = (warp + (forward ? i : count - i)) % count;
    if (const auto next = first_of(warps_[other].ready, other)) return next;
  }
  return std::nullopt;
}

void Block::leave(const char* waits_for, Site site) {
  Thread& self = current();
  self.waits_for = waits_for;
  self.site = site;
  warps_[at_ / kWarp].ready &= ~(1u << at_ % kWarp);
  const auto next = next_ready();
  if (!next) {
    Fiber::switch_between(self.fiber, host_);
  } else {
    at_ = *next;
    threadIdx = current().index;
    Fiber::switch_between(self.fiber, current().fiber);
  }
}

void Block::barrier(Site site) {
  if (at_barrier_ == 0) barrier_site_ = site;
  if (!(site == barrier_site_)) {
    fail(site, "at another __syncthreads() than the threads that wait at line " +
                   std::to_string(barrier_site_.line));
  }
  if (++at_barrier_ < count_) return leave("__syncthreads", site);
  at_barrier_ = 0;
  for (unsigned i = 0; i < count_; ++i) threads_[i]->waits_for = nullptr;
  make_all_ready();
}

void Block::collective(const char* name, uint32_t mask, Site site, void* argument,
                       void (*run)(const WarpCall&)) {
  Thread& self = current();
  Warp& warp = warps_[at_ / kWarp];
  const unsigned first = at_ - lane();
  if ((mask >> lane() & 1u) == 0) fail(site, std::string(name) + ": not in its own mask");
  self.mask = mask;
  self.argument = argument;
  warp.collecting |= 1u << lane();
  if ((warp.collecting & mask) != mask) return leave(name, site);

  WarpCall call{mask, {}, site};
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const auto other = static_cast<unsigned>(std::countr_zero(lanes));
    Thread& thread = *threads_[first + other];
    if (&thread != &self && (thread.mask != mask || std::strcmp(thread.waits_for, name) != 0)) {
      fail(site, std::string(name) + ": lane " + std::to_string(other) + " is at " +
                     thread.waits_for + " (line " + std::to_string(thread.site.line) +
                     ") or has another mask");
    }
    call.arguments[other] = thread.argument;
  }
  run(call);
  for (uint32_t lanes = mask; lanes != 0; lanes &= lanes - 1) {
    threads_[first + static_cast<unsigned>(std::countr_zero(lanes))]->waits_for = nullptr;
  }
  warp.collecting &= ~mask;
  warp.ready |= mask;
}

std::string Block::where(unsigned thread) const {
  const uint3 t = threads_[thread]->index;
  std::ostringstream out;
  out << "kernel " << Symbols::get().function_name(launch_->kernel) << " ("
      << place_name(launch_->place) << "), block (" << blockIdx.x << "," << blockIdx.y << ","
      << blockIdx.z << "), thread (" << t.x << "," << t.y << "," << t.z << ")";
  return out.str();
}

// Nobody can go on and not everybody is through: somebody waits for a thread that will not come.
std::string Block::stuck() const {
  const auto index_of = [&](auto&& wanted) {
    const auto begin = threads_.begin(), end = begin + count_;
    return static_cast<unsigned>(std::find_if(begin, end, wanted) - begin);
  };
  const unsigned waiting = index_of([](auto& t) { return t->waits_for != nullptr; });
  const Thread& waits = *threads_[waiting];
  const unsigned other =
      index_of([&](auto& t) { return t->done || (!t->done && t->waits_for != waits.waits_for); });
  std::ostringstream out;
  out << where(waiting) << ": waits for ever in " << waits.waits_for << " at line "
      << waits.site.line << " (" << left_ << " of " << count_ << " threads have left the kernel)";
  if (other < count_) {
    const Thread& missing = *threads_[other];
    out << "; thread (" << missing.index.x << "," << missing.index.y << "," << missing.index.z
        << ") ";
    if (missing.done) {
      out << "has left the kernel";
    } else {
      out << "waits in " << missing.waits_for << " at line " << missing.site.line;
    }
  } else {
    out << "; lanes of its mask are missing";
  }
  return out.str();
}

void Block::fail(Site site, const std::string& what) {
  throw BrokenInvariant(where(at_) + ", line " + std::to_string(site.line) + ": " + what);
}

bool Block::in_shared(const void* address, size_t bytes) const {
  const auto* at = static_cast<const std::byte*>(address);
  const auto inside = [&](const std::byte* start, size_t size) {
    return at >= start && at + bytes <= start + size;
  };
  if (inside(dynamic_, static_cast<size_t>(launch_->shared_bytes))) return true;
  const auto& variables = Symbols::get().shared_variables();
  return std::any_of(variables.begin(), variables.end(),
                     [&](const SharedVariable& v) { return inside(v.address, v.bytes); });
}

void arrive(const PendingCopy& copy) {
  if (copy.valid) {
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

}  // namespace

void run_grid(const Launch& launch, ThreadOrder order) {
  static std::mutex one_at_a_time;  // kernels' static shared variables exist once
  const std::lock_guard lock(one_at_a_time);
  the_block().run(launch, order);
}

unsigned lane_id() { return the_block().lane(); }
std::byte* dynamic_shared_memory() { return the_block().dynamic(); }
bool in_shared_memory(const void* address, size_t bytes) {
  return the_block().in_shared(address, bytes);
}
void fail(Site site, const std::string& what) { the_block().fail(site, what); }
void block_barrier(Site site) { the_block().barrier(site); }
void warp_collective(const char* name, uint32_t mask, Site site, void* argument,
                     void (*run)(const WarpCall&)) {
  the_block().collective(name, mask, site, argument, run);
}

void start_copy(void* shared, const void* global, bool valid, Site site) {
  check(reinterpret_cast<uintptr_t>(shared) % 16 == 0, site, "cp_async_16: target not 16-aligned");
  check(reinterpret_cast<uintptr_t>(global) % 16 == 0, site, "cp_async_16: source not 16-aligned");
  check(in_shared_memory(shared, 16), site, "cp_async_16: target is not in shared memory");
  Thread& self = the_block().current();
  std::memset(shared, kPoison, 16);
  self.copies.push_back({shared, global, valid, self.groups});
}
void commit_copies() { ++the_block().current().groups; }
void wait_copies(int groups_left) {
  Thread& self = the_block().current();
  while (!self.copies.empty() && self.copies.front().group < self.groups - groups_left) {
    arrive(self.copies.front());
    self.copies.pop_front();
  }
}

}  // namespace shardwright::emulation
