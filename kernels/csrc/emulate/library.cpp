// Kernels on the host, launched by name, for tests.
#include "library.h"

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "../cuda/kernels.cu"

namespace mms::emulate {
namespace {

/// Copy the arguments behind `pointers`, as cuLaunchKernel does.
template <typename... Arguments, std::size_t... kIndex>
std::function<void()> with_arguments(void (*kernel)(Arguments...),
                                     void** pointers,
                                     std::index_sequence<kIndex...>) {
  return [kernel, arguments = std::tuple(*static_cast<Arguments*>(pointers[kIndex])...)] {
    std::apply(kernel, arguments);
  };
}

template <typename... Arguments>
Kernel describe(const char* name, void (*kernel)(Arguments...)) {
  return {name, {{sizeof(Arguments), alignof(Arguments)}...}, [kernel](void** pointers) {
            return with_arguments(kernel, pointers, std::index_sequence_for<Arguments...>());
          }};
}

}  // namespace

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> all{
      describe("mms_frames", mms_frames),
      describe("mms_greedy", mms_greedy),
      describe("mms_align", mms_align),
      describe("mms_beam_begin", mms_beam_begin),
      describe("mms_beam_tokens", mms_beam_tokens),
      describe("mms_beam_step", mms_beam_step),
      describe("mms_beam_results", mms_beam_results),
  };
  return all;
}

const Kernel& kernel_named(const std::string& name) {
  for (const Kernel& kernel : kernels()) {
    if (kernel.name == name) return kernel;
  }
  throw std::invalid_argument("there is no kernel '" + name + "'");
}

}  // namespace mms::emulate

/// Launch a kernel and wait for it. Returns 0, or 1 with a message in `error`.
extern "C" __attribute__((visibility("default"))) int mms_emulated_launch(const char* name,
                                                                          const unsigned* grid,
                                                                          unsigned threads,
                                                                          std::size_t shared_bytes,
                                                                          unsigned seed,
                                                                          void** arguments,
                                                                          char* error,
                                                                          std::size_t error_bytes) {
  try {
    const mms::emulate::Shape shape{
        {grid[0], grid[1], grid[2]}, {threads, 1, 1}, shared_bytes, seed};
    mms::emulate::launch(shape, mms::emulate::kernel_named(name).bind(arguments));
    return 0;
  } catch (const std::exception& fault) {
    std::snprintf(error, error_bytes, "%s", fault.what());
    return 1;
  }
}

/// Size of an argument or element type in bytes; 0 for an unknown name.
extern "C" __attribute__((visibility("default"))) std::size_t mms_emulated_size(const char* name) {
  using namespace mms::cuda;
  const std::pair<const char*, std::size_t> sizes[] = {
      {"ScoresBatch", sizeof(mms::ScoresBatch)},
      {"Status", sizeof(Status)},
      {"Frame", sizeof(Frame)},
      {"GreedyStream", sizeof(GreedyStream)},
      {"GreedyArgs", sizeof(GreedyArgs)},
      {"AlignArgs", sizeof(AlignArgs)},
      {"BeamChoice", sizeof(BeamChoice)},
      {"BeamNode", sizeof(BeamNode)},
      {"BeamSpan", sizeof(BeamSpan)},
      {"BeamScoring", sizeof(BeamScoring)},
      {"BeamEntry", sizeof(BeamEntry)},
      {"BeamStream", sizeof(BeamStream)},
      {"BeamArgs", sizeof(BeamArgs)},
      {"BeamOutput", sizeof(BeamOutput)},
  };
  for (const auto& [known, size] : sizes) {
    if (std::string(known) == name) return size;
  }
  return 0;
}
