// cudasim_*: observation and control by tests, beside the driver's interface.
#include <cstring>
#include <functional>

#include "simulator.h"

using namespace cudasim;

namespace {

thread_local std::string callback_error;

using Callback = int (*)(const void* parameters, std::size_t bytes);

/// Memory that a function touches, as tests pass it.
struct Range {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint64_t writes;
};

template <typename Body>
Result checked(const Body& body) {
  const Entered entered;
  try {
    body(simulator().memory);
    return code::kSuccess;
  } catch (const Error& error) {
    callback_error = error.what();
    return error.code();
  }
}

}  // namespace

/// Number of faults so far.
CUDASIM_API std::size_t cudasim_fault_count() {
  const Entered entered;
  return simulator().faults.lines().size();
}
/// Text of a fault, or null past the end; valid until the next reset.
CUDASIM_API const char* cudasim_fault(std::size_t index) {
  const Entered entered;
  const auto& lines = simulator().faults.lines();
  return index < lines.size() ? lines[index].c_str() : nullptr;
}
/// Clear the faults and the injected errors.
CUDASIM_API void cudasim_reset() {
  const Entered entered;
  simulator().faults.clear();
  simulator().injections.clear();
}

/// Let `times` calls of a function, from the n-th next on, return `code`. Names have no _v2.
CUDASIM_API int cudasim_fail(const char* function, int nth, int times, Result code) {
  const Entered entered;
  if (nth < 1 || times < 1) return code::kInvalidValue;
  simulator().injections.order(function, nth, times, code);
  return code::kSuccess;
}
/// Order of operations from now on; see Queue::order.
CUDASIM_API void cudasim_order(std::uint64_t seed, int slow_copies) {
  const Entered entered;
  simulator().queue.order(seed, slow_copies != 0);
}

/// Whether the device shares the memory of the system.
CUDASIM_API void cudasim_integrated(int integrated) {
  const Entered entered;
  simulator().integrated = integrated != 0;
}
/// Flags of the primary context.
CUDASIM_API unsigned cudasim_primary_flags() { return simulator().primary_flags; }

/// Counts of allocations, their bytes, page-locked ranges, streams, events, executable graphs and
/// pending operations.
CUDASIM_API void cudasim_usage(std::size_t* counts) {
  const Entered entered;
  const Simulator& simulated = simulator();
  const std::size_t all[] = {simulated.memory.live().size(),
                             simulated.memory.used(),
                             simulated.host.ranges().size(),
                             simulated.streams.live().size(),
                             simulated.events.live().size(),
                             simulated.graph_execs.live().size(),
                             simulated.queue.size()};
  std::memcpy(counts, all, sizeof all);
}

/// Copy from or to device memory for the stand-in of TensorRT, at once. Return a code; the error's
/// text is that of the callback.
CUDASIM_API Result cudasim_read(void* to, DevicePtr from, std::size_t bytes) {
  return checked([&](const DeviceMemory& memory) {
    if (bytes > 0) std::memcpy(to, memory.alias(from, bytes), bytes);
  });
}
CUDASIM_API Result cudasim_write(DevicePtr to, const void* from, std::size_t bytes) {
  return checked([&](const DeviceMemory& memory) {
    if (bytes > 0) std::memcpy(memory.alias(to, bytes), from, bytes);
  });
}
/// Whether a stream captures.
CUDASIM_API int cudasim_captures(Handle stream) {
  const Entered entered;
  return simulator().stream(stream)->capture != nullptr;
}
/// Set the error text of the callback that runs in this thread.
CUDASIM_API void cudasim_explain(const char* text) { callback_error = text; }

/// Enqueue a function on a stream as if it were a kernel. It gets a copy of `parameters` and
/// returns a code; anything but 0 is an error of the context. It must not call the driver. `ranges`
/// is the memory it touches, for the detection of races.
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
