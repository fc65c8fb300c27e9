// cudasim_*: what tests ask and order. None of it is the driver's.
#include <cstring>
#include <functional>

#include "copies.h"
#include "simulator.h"

using namespace cudasim;

namespace {

thread_local std::string callback_error;

using Callback = int (*)(const void* parameters, std::size_t bytes);

/// An address, a size and whether it is written, as tests pass them.
struct Range {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint64_t writes;
};

}  // namespace

/// The number of faults so far, and the text of one (null past the end, valid until the next
/// reset).
CUDASIM_API std::size_t cudasim_fault_count() {
  const Entered entered;
  return simulator().faults.lines().size();
}
CUDASIM_API const char* cudasim_fault(std::size_t index) {
  const Entered entered;
  const auto& lines = simulator().faults.lines();
  return index < lines.size() ? lines[index].c_str() : nullptr;
}
/// Forget the faults and what was ordered to fail.
CUDASIM_API void cudasim_reset() {
  const Entered entered;
  simulator().faults.clear();
  simulator().injections.clear();
}

/// Let `times` calls of a function, from the n-th next on, answer `code`. Names have no _v2.
CUDASIM_API int cudasim_fail(const char* function, int nth, int times, Result code) {
  const Entered entered;
  if (nth < 1 || times < 1) return code::kInvalidValue;
  simulator().injections.order(function, nth, times, code);
  return code::kSuccess;
}
/// Let every later call in every context answer `code`: the device is lost.
CUDASIM_API void cudasim_lose_device(Result code) {
  const Entered entered;
  for (const auto& [handle, context] : simulator().contexts.live()) context->sticky = code;
}
/// How work is ordered from now on: Settings::seed and slow_copies.
CUDASIM_API void cudasim_order(std::uint64_t seed, int slow_copies) {
  const Entered entered;
  simulator().queue.open(seed, slow_copies != 0);
}
/// The device's memory in bytes, and the capability such as 86.
CUDASIM_API void cudasim_set_memory(std::size_t bytes) {
  const Entered entered;
  simulator().memory.set_limit(bytes);
}
CUDASIM_API void cudasim_set_capability(int capability) {
  const Entered entered;
  simulator().settings.capability = capability;
}
CUDASIM_API void cudasim_set_driver(int version) {
  const Entered entered;
  simulator().settings.driver = version;
}

/// What is alive: allocations, bytes, most bytes ever, page-locked ranges, streams, events,
/// executable graphs, operations in flight, contexts.
CUDASIM_API void cudasim_usage(std::size_t* counts) {
  const Entered entered;
  const Simulator& simulated = simulator();
  const std::size_t all[] = {simulated.memory.live().size(),
                             simulated.memory.used(),
                             simulated.memory.peak(),
                             simulated.host.ranges().size(),
                             simulated.streams.live().size(),
                             simulated.events.live().size(),
                             simulated.graph_execs.live().size(),
                             simulated.queue.size(),
                             simulated.contexts.live().size()};
  std::memcpy(counts, all, sizeof all);
}

/// Bytes of device memory for the stand-in of TensorRT, at once and checked. Returns a code; what
/// was wrong is a fault.
CUDASIM_API Result cudasim_read(void* to, DevicePtr from, std::size_t bytes) {
  const Entered entered;
  try {
    if (bytes > 0) std::memcpy(to, simulator().memory.alias(from, bytes), bytes);
    return code::kSuccess;
  } catch (const Error& error) {
    callback_error = error.what();
    return error.code();
  }
}
CUDASIM_API Result cudasim_write(DevicePtr to, const void* from, std::size_t bytes) {
  const Entered entered;
  try {
    if (bytes > 0) std::memcpy(simulator().memory.alias(to, bytes), from, bytes);
    return code::kSuccess;
  } catch (const Error& error) {
    callback_error = error.what();
    return error.code();
  }
}
/// What the callback of cudasim_enqueue that runs in this thread has to say about its failure.
CUDASIM_API void cudasim_explain(const char* text) { callback_error = text; }

/// Order a function on a stream as if it were a kernel. It gets a copy of `parameters`, and returns
/// a code; anything but 0 is an error of the context. It must not call the driver. `ranges` are
/// what it touches, as far as races are to be found.
CUDASIM_API Result cudasim_enqueue(Handle stream,
                                   const char* name,
                                   Callback function,
                                   const void* parameters,
                                   std::size_t bytes,
                                   const Range* ranges,
                                   std::size_t range_count) {
  const std::string title = name;
  const std::string copy(static_cast<const char*>(parameters), bytes);
  return call("cudasim_enqueue", [&](Simulator& simulated) {
    Work work{title, [=] {
                callback_error.clear();
                in_host_function() = true;
                const Result result = function(copy.data(), copy.size());
                in_host_function() = false;
                if (result != code::kSuccess) throw Error(result, callback_error);
              }};
    for (const Range* range = ranges; range < ranges + range_count; ++range) {
      work.accesses.push_back({range->address, range->bytes, range->writes != 0});
    }
    simulated.enqueue(*simulated.stream(stream), std::move(work));
  });
}
