// Fibers: functions on their own stacks that can pause and resume.
#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>

namespace mms::emulate {

/// Saved execution context.
struct Place {
  ucontext_t context{};
  std::jmp_buf jump{};
  bool fresh = false;  ///< Not started: use `context` instead of `jump`.
};

class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Start `body` at the next `resume`. It must not throw and must outlive the run.
  void prepare(const std::function<void()>& body);
  /// Run until `pause` or the end of the body.
  void resume();
  /// Called by the body: return from `resume`.
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
  const void* caller_stack_ = nullptr;  // for the address sanitizer
  std::size_t caller_size_ = 0;
};

}  // namespace mms::emulate
