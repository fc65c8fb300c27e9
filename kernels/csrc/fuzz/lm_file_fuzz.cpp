// Any compact file is refused or safe to query. The first byte enables a valid size and checksum,
// so that the checks behind them are reached.
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> content(bytes.begin(), bytes.end());
  if (data[0] != 0) fuzz::mend(content);
  try {
    const mms::NgramModel model(content);
    fuzz::walk(model, {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const std::invalid_argument&) {
    return 0;
  }
  return 0;
}
