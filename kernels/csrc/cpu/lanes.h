// Sixteen floats at a time, as four vectors of the compiler's own vector type (GCC, Clang): every
// machine has vectors of four, and left to itself the compiler turns such loops into scalar code.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace mms {

using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

constexpr int kWidth = 4;
constexpr int kGroups = 4;
constexpr std::int64_t kLanes = kWidth * kGroups;

inline Floats load(const float* values) {
  Floats vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

inline bool any(Ints mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }

/// Call visit(group, vector) over all values in order; the last ones are filled up with -inf.
template <typename Visit>
inline void for_each_vector(const float* values, std::int64_t size, const Visit& visit) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int group = 0; group < kGroups; ++group) visit(group, load(values + i + group * kWidth));
  }
  if (i == size) return;
  float rest[kLanes];
  std::fill_n(rest, kLanes, -std::numeric_limits<float>::infinity());
  std::copy(values + i, values + size, rest);
  for (int group = 0; group < kGroups; ++group) visit(group, load(rest + group * kWidth));
}

}  // namespace mms
