// Exponentials with equal bits on every machine.
#pragma once

#include "numbers.h"

namespace mms::MMS_ISA {
namespace {

// e^x for x <= 0 with a relative error below 2e-7, and 0 below -87. Only additions and
// multiplications, so that the bits are equal on every machine.
inline Floats exp_nonpositive(Floats x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr std::int32_t kRoundBits = 0x4B400000;
  const Floats lowest = Floats{} - 87.0F;
  const Floats clamped = x < lowest ? lowest : x;
  const Floats shifted = clamped * 1.44269504F + kRound;
  const Floats exponent = shifted - kRound;
  // ln 2 in two parts: the first has so few bits that its product with the exponent is exact.
  const Floats r = clamped - exponent * 0.693359375F + exponent * 2.12194440e-4F;
  Floats series = Floats{} + 1.0F / 5040;
  series = series * r + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  const Ints scale = (__builtin_bit_cast(Ints, shifted) - kRoundBits + 127) << 23;
  return x < lowest ? Floats{} : series * __builtin_bit_cast(Floats, scale);
}

/// Sum of exp(x - peak) over the scores x of a frame, none greater than `peak`.
template <typename Type>
inline float sum_exp(const typename Type::Number* numbers, std::int64_t size, float peak) {
  Floats sum[kGroups] = {};
  for_each_vector<Type>(numbers, size, [&](int group, Floats values) {
    sum[group] += exp_nonpositive(values - peak);
  });
  return join(sum, [](Floats a, Floats b) { return a + b; });
}

}  // namespace
}  // namespace mms::MMS_ISA
