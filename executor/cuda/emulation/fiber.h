// Fiber: a thread of control with its own stack that runs until it switches to another one. The
// emulation runs every thread of a block as one, so a switch must be cheap: some 5 ns on x86-64,
// where it saves what the calling convention demands; elsewhere the C library's ucontext.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace shardwright::emulation {

class Fiber {
 public:
  // The thread that is running: where fibers are switched to from first.
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Gives this object a stack on which `entry`, which must not return, starts at the first switch.
  // May be called again when whatever ran before is to be forgotten.
  void start(void (*entry)());

  // The first thing that `entry` does.
  void entered() { arrive(); }

  // Stops the running fiber `from` and goes on where `to` was stopped.
  static void switch_between(Fiber& from, Fiber& to);

 private:
  void arrive();

  void* stack_ = nullptr;  // its lowest address; null for the first thread's own
  void* stack_bottom_ = nullptr;
  size_t stack_bytes_ = 0;
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
  // Used by the sanitizers only.
  void* fake_stack_ = nullptr;
  void* sanitizer_fiber_ = nullptr;
};

}  // namespace shardwright::emulation
