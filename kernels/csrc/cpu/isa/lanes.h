// Sixteen floats at a time, in vectors of the machine's width (GCC and Clang vector types): four of
// four, two of eight or one of sixteen. Sums per lane and the order of joining lanes are the same
// for all, so the bits are too.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

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
using Shorts = std::uint16_t __attribute__((vector_size(MMS_VECTOR_BYTES / 2)));

template <typename Vector>
inline Vector load_bits(const void* source) {
  Vector vector;
  std::memcpy(&vector, source, sizeof vector);
  return vector;
}

inline Floats load(const float* values) { return load_bits<Floats>(values); }

inline void store(float* target, Floats vector) { std::memcpy(target, &vector, sizeof vector); }

// Result of a comparison: a mask register if there is one, otherwise lanes of zeros or ones.

#if MMS_VECTOR_BYTES == 64
using Flags = std::uint32_t;
inline Flags equal(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline Flags is_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline std::uint32_t bits_of(Flags flags) { return flags; }
#else
using Flags = Ints;
inline Flags equal(Floats a, Floats b) { return a == b; }
inline Flags is_nan(Floats a) { return a != a; }
inline std::uint32_t bits_of(Flags flags) {
#if MMS_VECTOR_BYTES == 32
  return static_cast<std::uint32_t>(_mm256_movemask_ps(__builtin_bit_cast(__m256, flags)));
#elif defined(__SSE2__)
  return static_cast<std::uint32_t>(_mm_movemask_ps(__builtin_bit_cast(__m128, flags)));
#else
  std::uint32_t bits = 0;
  for (int lane = 0; lane < kWidth; ++lane) bits |= (flags[lane] & 1U) << lane;
  return bits;
#endif
}
#endif

inline bool any(Ints mask) {
#if MMS_VECTOR_BYTES == 64
  return _mm512_movepi32_mask(__builtin_bit_cast(__m512i, mask)) != 0;
#else
  return bits_of(mask) != 0;
#endif
}

/// Last, incomplete group of lanes, padded with -inf.
inline void load_rest(const float* values, std::int64_t size, float* lanes) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    lanes[lane] = lane < size ? values[lane] : -__builtin_inff();
  }
}

// Join all lanes into one number: lane l with lane l + 8, then l + 4, l + 2, l + 1.

#if MMS_VECTOR_BYTES == 64
#define MMS_LANES(n)                                                                        \
  n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9, n + 10, n + 11, n + 12, \
      n + 13, n + 14, n + 15
#elif MMS_VECTOR_BYTES == 32
#define MMS_LANES(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
#else
#define MMS_LANES(n) n, n + 1, n + 2, n + 3
#endif

inline Ints lane_numbers() { return Ints{MMS_LANES(0)}; }

/// Lane l of the result is lane l + N, around the end.
template <int N>
inline Floats turned(Floats vector) {
#if defined(__clang__)
  return __builtin_shufflevector(vector, vector, MMS_LANES(N));
#else
  return __builtin_shuffle(vector, Ints{MMS_LANES(N)});
#endif
}
#undef MMS_LANES

template <typename Join>
inline float join(Floats* groups, const Join& two) {
  for (int half = kGroups / 2; half > 0; half /= 2) {
    for (int group = 0; group < half; ++group) {
      groups[group] = two(groups[group], groups[group + half]);
    }
  }
  Floats all = groups[0];
  if constexpr (kWidth == 16) all = two(all, turned<8>(all));
  if constexpr (kWidth >= 8) all = two(all, turned<4>(all));
  all = two(all, turned<2>(all));
  return two(all, turned<1>(all))[0];
}

}  // namespace
}  // namespace mms::MMS_ISA
