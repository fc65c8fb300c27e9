// Sixteen floats at a time in vectors as wide as the machine's (GCC, Clang vector types): four of
// four, two of eight or one of sixteen. What is summed per lane, and how lanes are joined, is the
// same for all, so the bits are too.
#pragma once

#include <cstdint>
#include <cstring>

#ifndef MMS_VECTOR_BYTES
#error "compiled once for each instruction set: see mms_isa_sources in CMakeLists.txt"
#endif

namespace mms::MMS_ISA {
namespace {

constexpr std::int64_t kLanes = 16;
constexpr int kWidth = MMS_VECTOR_BYTES / 4;
constexpr int kGroups = static_cast<int>(kLanes) / kWidth;

using Floats = float __attribute__((vector_size(MMS_VECTOR_BYTES)));
using Ints = std::int32_t __attribute__((vector_size(MMS_VECTOR_BYTES)));

inline Floats load(const float* values) {
  Floats vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

inline void store(float* target, Floats vector) { std::memcpy(target, &vector, sizeof vector); }

inline bool any(Ints mask) {
  std::int32_t bits = 0;
  for (int lane = 0; lane < kWidth; ++lane) bits |= mask[lane];
  return bits != 0;
}

/// The last, incomplete group of lanes, filled up with -inf.
inline void load_rest(const float* values, std::int64_t size, float* lanes) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    lanes[lane] = lane < size ? values[lane] : -__builtin_inff();
  }
}

/// Call visit(group, vector) over all values in order; the last ones are filled up with -inf.
template <typename Visit>
inline void for_each_vector(const float* values, std::int64_t size, const Visit& visit) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int group = 0; group < kGroups; ++group) visit(group, load(values + i + group * kWidth));
  }
  if (i == size) return;
  float rest[kLanes];
  load_rest(values + i, size - i, rest);
  for (int group = 0; group < kGroups; ++group) visit(group, load(rest + group * kWidth));
}

}  // namespace
}  // namespace mms::MMS_ISA
