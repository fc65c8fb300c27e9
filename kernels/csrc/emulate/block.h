// One block of device threads on the host: each is a fiber, scheduled in an order set by a seed.
//
// Undefined behaviour of a device ends the launch with a Fault: threads at different barriers or
// missing from one, a lane missing from a warp operation, shared memory accessed out of bounds, and
// accesses by two threads without a barrier between them.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber.h"
#include "shadow.h"

namespace mms::emulate {

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

/// Undefined behaviour that a device would not report.
class Fault : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr unsigned kWarp = 32;
using Site = std::source_location;
using Lanes = std::array<std::uint64_t, kWarp>;

/// Parameters of a launch.
struct Shape {
  Dim3 grid;
  Dim3 block;
  std::size_t shared_bytes = 0;
  unsigned seed = 0;  ///< 0: in thread order.
};

class Block {
 public:
  Block(const Shape& shape, GlobalShadow& global);

  /// Run the kernel for each thread. Throws Fault.
  void run(Dim3 index, const std::function<void()>& kernel);

  // Called by the threads.
  static Block& current();
  const Shape& shape() const { return shape_; }
  Dim3 index() const { return index_; }
  unsigned thread() const { return running_; }
  Moment moment() const;

  /// __syncthreads; returns the number of threads with a `flag` other than 0.
  int barrier(bool flag, const Site& site);
  /// Wait for all lanes of `mask` at the same operation; returns their values.
  Lanes exchange(const char* operation, std::uint32_t mask, std::uint64_t value, const Site& site);
  /// __syncwarp of a whole warp.
  void sync_warp(std::uint32_t mask, const Site& site);
  /// Shared memory for `count` elements, common to all threads at `site`.
  Memory static_shared(std::size_t count, std::size_t size, const Site& site);
  /// Dynamic shared memory of the launch from byte `offset` on.
  Memory dynamic_shared(std::size_t offset, std::size_t count, std::size_t size);
  Shadow& global_shadow(const void* data, std::size_t elements);

 private:
  enum class State : std::uint8_t { kReady, kAtBarrier, kAtExchange, kDone };
  struct Thread {
    Fiber fiber;
    std::function<void()> body;
    State state = State::kReady;
    Site site;
    const char* operation = "";
    std::uint32_t mask = 0;
    std::uint64_t value = 0;
    Lanes received{};
  };
  using SharedArrays = std::map<std::pair<std::string, unsigned>, Memory>;

  void start();
  unsigned choose();
  void wait(State state, const Site& site);
  void release_barrier();
  void release_lanes(unsigned first, std::uint32_t mask);
  void stop_all();
  [[noreturn]] void diagnose();
  std::string where(unsigned thread) const;
  Memory allocate(std::size_t count, std::size_t size);

  Shape shape_;
  GlobalShadow& global_;
  Dim3 index_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<unsigned> ready_;
  std::mt19937 random_;
  const std::function<void()>* kernel_ = nullptr;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::uint32_t number_ = 0;
  unsigned running_ = 0;
  unsigned at_barrier_ = 0;
  Site barrier_site_;
  int flags_ = 0;
  int barrier_result_ = 0;
  std::uint32_t epoch_ = 1;
  std::vector<std::uint32_t> warp_epochs_;
  std::vector<std::unique_ptr<std::byte[]>> storage_;
  std::vector<std::unique_ptr<Shadow>> shadows_;
  SharedArrays static_;
  std::map<std::size_t, Memory> dynamic_;
};

/// Run every block of a launch, in an order set by the seed. Throws Fault.
void launch(const Shape& shape, const std::function<void()>& kernel);

}  // namespace mms::emulate
