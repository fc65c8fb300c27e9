#include "mms/widen.h"

#include <algorithm>
#include <cstddef>

#include "isa/kernels.h"
#include "parallel.h"

namespace mms {
namespace {

constexpr std::int64_t kBlock = 1 << 18;

}  // namespace

void widen_all(
    const void* numbers, DType dtype, std::int64_t size, float* out, std::int64_t threads) {
  const auto* bytes = static_cast<const std::byte*>(numbers);
  const auto& table = MMS_TABLE(kFrame);
  for_each_row((size + kBlock - 1) / kBlock, threads, [&](std::int64_t block) {
    const std::int64_t start = block * kBlock;
    const std::int64_t count = std::min(kBlock, size - start);
    table.widen(bytes + start * size_of(dtype), dtype, count, out + start);
  });
}

}  // namespace mms
