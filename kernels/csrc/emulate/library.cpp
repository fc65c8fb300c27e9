// The kernels on the host, launched by name as a driver would: for the tests.
#include <cstdio>
#include <exception>
#include <string>
#include <tuple>
#include <utility>

#include "../cuda/kernels.cu"

namespace {

/// Call a kernel with arguments that are where `pointers` say, as cuLaunchKernel has them.
template <typename... Arguments, std::size_t... kIndex>
void call(void (*kernel)(Arguments...), void** pointers, std::index_sequence<kIndex...>) {
  kernel(*static_cast<Arguments*>(pointers[kIndex])...);
}

template <typename... Arguments>
std::function<void()> bind(void (*kernel)(Arguments...), void** pointers) {
  return [=] { call(kernel, pointers, std::index_sequence_for<Arguments...>()); };
}

std::function<void()> kernel_named(const std::string& name, void** arguments) {
  if (name == "mms_frames") return bind(mms_frames, arguments);
  if (name == "mms_greedy") return bind(mms_greedy, arguments);
  if (name == "mms_align") return bind(mms_align, arguments);
  if (name == "mms_beam_begin") return bind(mms_beam_begin, arguments);
  if (name == "mms_beam_tokens") return bind(mms_beam_tokens, arguments);
  if (name == "mms_beam_step") return bind(mms_beam_step, arguments);
  if (name == "mms_beam_results") return bind(mms_beam_results, arguments);
  throw std::invalid_argument("there is no kernel '" + name + "'");
}

}  // namespace

/// Launch a kernel and wait for it. Returns 0, or 1 with what was wrong in `error`.
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
    mms::emulate::launch(shape, kernel_named(name, arguments));
    return 0;
  } catch (const std::exception& fault) {
    std::snprintf(error, error_bytes, "%s", fault.what());
    return 1;
  }
}

/// The bytes of a kernel's argument or of an element on the device; 0 for an unknown name.
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
