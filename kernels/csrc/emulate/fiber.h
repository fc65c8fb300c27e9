// Functions that can stop in the middle and go on later, each on a stack of its own.
#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>

namespace mms::emulate {

/// Where an execution goes on.
struct Place {
  ucontext_t context{};
  std::jmp_buf jump{};
  bool fresh = false;  ///< It has not begun: `context` is where, and not `jump`.
};

class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Run `body`, which must not throw and must outlive the run, from the next `resume` on.
  void prepare(const std::function<void()>& body);
  /// Go on until `pause` or the end of the body.
  void resume();
  /// Called in the body: return from `resume`.
  void pause();
  bool done() const { return done_; }

 private:
  static void enter(unsigned high, unsigned low);
  void run();

  std::unique_ptr<char[]> stack_;
  Place own_;
  Place caller_;
  const std::function<void()>* body_ = nullptr;
  bool done_ = true;
  const void* caller_stack_ = nullptr;  // what the address sanitizer wants to know
  std::size_t caller_size_ = 0;
};

}  // namespace mms::emulate
