#include "executor/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>

#include "costmodel/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace shardwright::emulation {
namespace {

// Address space only: pages are touched as they are used. Sanitizers make frames larger.
constexpr size_t kStackBytes = size_t{256} << 10;
constexpr size_t kGuardBytes = 4096;  // below the stack, so that an overflow stops at once
// Stacks that all start at the same place of a page would share a few sets of the first cache.
constexpr size_t kColourBytes = 192, kColours = 21;
size_t stacks_made = 0;

}  // namespace

#if defined(__x86_64__)
// Saves the registers that a call must preserve (System V AMD64 ABI, 3.2.1) on the stack of the
// caller, and takes those of the other stack. Floating-point control words are the same everywhere.
extern "C" void shardwright_switch_stack(void** save, void* load);
asm(R"(
.text
.globl shardwright_switch_stack
.type shardwright_switch_stack, @function
shardwright_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size shardwright_switch_stack, .-shardwright_switch_stack
)");
#endif

Fiber::~Fiber() {
#ifdef __SANITIZE_THREAD__
  if (stack_ != nullptr && sanitizer_fiber_ != nullptr) __tsan_destroy_fiber(sanitizer_fiber_);
#endif
  if (stack_ != nullptr) munmap(stack_, kStackBytes + kGuardBytes);
}

void Fiber::start(void (*entry)()) {
  if (stack_ == nullptr) {
    stack_ = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SW_CHECK(stack_ != MAP_FAILED, "no memory for the stack of an emulated thread");
    mprotect(stack_, kGuardBytes, PROT_NONE);
    stack_bottom_ = static_cast<char*>(stack_) + kGuardBytes;
    stack_bytes_ = kStackBytes - stacks_made++ % kColours * kColourBytes;
  }
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack_bottom_, stack_bytes_);
  fake_stack_ = nullptr;
#endif
#ifdef __SANITIZE_THREAD__
  if (sanitizer_fiber_ != nullptr) __tsan_destroy_fiber(sanitizer_fiber_);
  sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
#if defined(__x86_64__)
  // Six saved registers, the address to return to, and the alignment of a function's entry.
  auto* top = reinterpret_cast<uintptr_t*>(static_cast<char*>(stack_bottom_) + stack_bytes_);
  for (int i = 1; i <= 10; ++i) top[-i] = 0;
  top[-2] = reinterpret_cast<uintptr_t>(entry);
  stack_pointer_ = top - 8;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_bottom_;
  context_.uc_stack.ss_size = stack_bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

namespace {
Fiber* came_from = nullptr;  // only one thread of the process emulates at a time (execution.cc)
}

void Fiber::arrive() {
#ifdef __SANITIZE_ADDRESS__
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &bytes);
  // The first thread's stack is learned when it is left for the first time.
  if (came_from->stack_ == nullptr) {
    came_from->stack_bottom_ = const_cast<void*>(bottom);
    came_from->stack_bytes_ = bytes;
  }
#endif
}

void Fiber::switch_between(Fiber& from, Fiber& to) {
  came_from = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_bottom_, to.stack_bytes_);
#endif
#ifdef __SANITIZE_THREAD__
  if (from.stack_ == nullptr) from.sanitizer_fiber_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.sanitizer_fiber_, 0);
#endif
#if defined(__x86_64__)
  shardwright_switch_stack(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
  from.arrive();
}

}  // namespace shardwright::emulation
