#include "fiber.h"

#include <cstdint>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace mms::emulate {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} * 1024;

// The address sanitizer must be told of each stack switch.
void announce(void** saved, const void* stack, std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(saved, stack, size);
#else
  static_cast<void>(saved), static_cast<void>(stack), static_cast<void>(size);
#endif
}

void arrive(void* saved, const void** stack, std::size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(saved, stack, size);
#else
  static_cast<void>(saved), static_cast<void>(stack), static_cast<void>(size);
#endif
}

// swapcontext makes a system call for the signal mask, which would dominate the run time of
// emulated kernels; longjmp does not. The address sanitizer does not support jumps between stacks.
#if defined(__SANITIZE_ADDRESS__)
void leave_for(Place& from, Place& to) { swapcontext(&from.context, &to.context); }
#else
void leave_for(Place& from, Place& to) {
  if (_setjmp(from.jump) != 0) return;
  if (std::exchange(to.fresh, false)) setcontext(&to.context);
  _longjmp(to.jump, 1);
}
#endif

}  // namespace

Fiber::Fiber() : stack_(new char[kStackBytes]) {}

void Fiber::prepare(const std::function<void()>& body) {
  body_ = &body;
  done_ = false;
  own_.fresh = true;
  getcontext(&own_.context);
  own_.context.uc_stack.ss_sp = stack_.get();
  own_.context.uc_stack.ss_size = kStackBytes;
  own_.context.uc_link = nullptr;
  // makecontext passes ints, of which a pointer needs two.
  const auto self = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(this));
  makecontext(&own_.context,
              reinterpret_cast<void (*)()>(&Fiber::enter),
              2,
              static_cast<unsigned>(self >> 32),
              static_cast<unsigned>(self));
}

void Fiber::enter(unsigned high, unsigned low) {
  const std::uint64_t self = (static_cast<std::uint64_t>(high) << 32) | low;
  reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(self))->run();
}

void Fiber::run() {
  arrive(nullptr, &caller_stack_, &caller_size_);
  (*body_)();
  done_ = true;
  announce(nullptr, caller_stack_, caller_size_);
  leave_for(own_, caller_);
}

void Fiber::resume() {
  void* saved = nullptr;
  announce(&saved, stack_.get(), kStackBytes);
  leave_for(caller_, own_);
  arrive(saved, nullptr, nullptr);
}

void Fiber::pause() {
  void* saved = nullptr;
  announce(&saved, caller_stack_, caller_size_);
  leave_for(own_, caller_);
  arrive(saved, &caller_stack_, &caller_size_);
}

}  // namespace mms::emulate
