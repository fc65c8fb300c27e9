// float64 vectors of the machine's width, for the alignment's tiles.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace mms::MMS_ISA {
namespace {

constexpr int kLanes = MMS_VECTOR_BYTES / 8;

using Doubles = double __attribute__((vector_size(MMS_VECTOR_BYTES)));
using Longs = std::int64_t __attribute__((vector_size(MMS_VECTOR_BYTES)));

inline Doubles load(const double* values) {
  Doubles vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

inline void store(double* target, Doubles vector) { std::memcpy(target, &vector, sizeof vector); }

#if defined(__AVX512F__)

using Mask = __mmask8;

// Masked forms with all lanes: GCC 12 warns of undefined values in the others.
inline Doubles splat(double value) { return _mm512_set1_pd(value); }
inline Doubles max(Doubles x, Doubles y) { return _mm512_maskz_max_pd(0xFF, x, y); }
inline Doubles widen(const float* values) {
  return _mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(values));
}

inline Mask mask_of(std::uint32_t bits) { return static_cast<Mask>(bits); }
inline Mask greater(Doubles x, Doubles y) { return _mm512_cmp_pd_mask(x, y, _CMP_GT_OQ); }
inline Doubles choose(Mask mask, Doubles x, Doubles y) { return _mm512_mask_mov_pd(y, mask, x); }
inline std::uint32_t bits_of(Mask mask) { return mask; }

/// Each lane gets the one before it, the first gets `*edge`, and `*edge` gets the last.
inline Doubles shift_in(Doubles x, double* edge) {
  const Doubles rotated = _mm512_castsi512_pd(
      _mm512_maskz_alignr_epi64(0xFF, _mm512_castpd_si512(x), _mm512_castpd_si512(x), kLanes - 1));
  const Doubles shifted = _mm512_mask_mov_pd(rotated, 1, _mm512_set1_pd(*edge));
  *edge = rotated[0];
  return shifted;
}

#else

using Mask = Longs;

inline Mask mask_of(std::uint32_t bits) {
  Mask mask;
  for (int lane = 0; lane < kLanes; ++lane) mask[lane] = (bits >> lane & 1) != 0 ? -1 : 0;
  return mask;
}

inline Mask greater(Doubles x, Doubles y) { return x > y; }
inline Doubles choose(Mask mask, Doubles x, Doubles y) { return mask ? x : y; }

#if defined(__AVX2__)

// The compiler's vector conversion and broadcast take several instructions.
inline Doubles splat(double value) { return _mm256_set1_pd(value); }
inline Doubles widen(const float* values) { return _mm256_cvtps_pd(_mm_loadu_ps(values)); }
inline Doubles max(Doubles x, Doubles y) { return _mm256_max_pd(x, y); }

inline std::uint32_t bits_of(Mask mask) {
  return static_cast<std::uint32_t>(
      _mm256_movemask_pd(_mm256_castsi256_pd(reinterpret_cast<__m256i>(mask))));
}

/// Each lane gets the one before it, the first gets `*edge`, and `*edge` gets the last.
inline Doubles shift_in(Doubles x, double* edge) {
  const Doubles rotated = _mm256_permute4x64_pd(x, 0x93);
  const Doubles shifted = _mm256_blend_pd(rotated, _mm256_set1_pd(*edge), 1);
  *edge = rotated[0];
  return shifted;
}

#else

inline Doubles splat(double value) { return Doubles{} + value; }

inline Doubles widen(const float* values) {
  Doubles vector;
  for (int lane = 0; lane < kLanes; ++lane) vector[lane] = static_cast<double>(values[lane]);
  return vector;
}

inline Doubles max(Doubles x, Doubles y) { return x > y ? x : y; }

inline std::uint32_t bits_of(Mask mask) {
  std::uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    bits |= static_cast<std::uint32_t>(mask[lane] & 1) << lane;
  }
  return bits;
}

/// Each lane gets the one before it, the first gets `*edge`, and `*edge` gets the last.
inline Doubles shift_in(Doubles x, double* edge) {
  Doubles shifted;
  shifted[0] = *edge;
  for (int lane = 1; lane < kLanes; ++lane) shifted[lane] = x[lane - 1];
  *edge = x[kLanes - 1];
  return shifted;
}

#endif
#endif

#if defined(__AVX2__)

/// out[i * stride + k] = rows[k][first + i] for i and k below 8.
inline void transpose(const float* const* rows,
                      std::int64_t first,
                      float* out,
                      std::int64_t stride) {
  __m256 quads[8];  // i-th: rows i % 4 and i % 4 + 4, columns of half i / 4
  for (int i = 0; i < 8; ++i) {
    const std::int64_t column = first + i / 4 * 4;
    quads[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i % 4] + column)),
                                    _mm_loadu_ps(rows[i % 4 + 4] + column),
                                    1);
  }
  for (int half = 0; half < 2; ++half) {
    const __m256* q = quads + 4 * half;
    const __m256d low01 = _mm256_castps_pd(_mm256_unpacklo_ps(q[0], q[1]));
    const __m256d low23 = _mm256_castps_pd(_mm256_unpacklo_ps(q[2], q[3]));
    const __m256d high01 = _mm256_castps_pd(_mm256_unpackhi_ps(q[0], q[1]));
    const __m256d high23 = _mm256_castps_pd(_mm256_unpackhi_ps(q[2], q[3]));
    float* target = out + 4 * half * stride;
    _mm256_storeu_ps(target, _mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23)));
    _mm256_storeu_ps(target + stride, _mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23)));
    _mm256_storeu_ps(target + 2 * stride, _mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23)));
    _mm256_storeu_ps(target + 3 * stride, _mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23)));
  }
}

#else

/// out[i * stride + k] = rows[k][first + i] for i and k below 8.
inline void transpose(const float* const* rows,
                      std::int64_t first,
                      float* out,
                      std::int64_t stride) {
  for (std::int64_t i = 0; i < 8; ++i) {
    for (std::int64_t k = 0; k < 8; ++k) out[i * stride + k] = rows[k][first + i];
  }
}

#endif

}  // namespace
}  // namespace mms::MMS_ISA
