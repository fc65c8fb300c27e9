// The fuzz target of the decoders on random inputs, for runs under the sanitizers: greedy, beam and
// alignment give equal bits on every instruction set, in chunks, and within every band and limit.
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main() {
  std::mt19937 generator(1);
  for (int round = 0; round < 600; ++round) {
    std::vector<std::uint8_t> bytes(40 + generator() % 4000);
    // Bytes above 250 include scores that are not finite; most inputs do without.
    const unsigned range = round % 8 == 0 ? 256 : 250;
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator() % range);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  return 0;
}
