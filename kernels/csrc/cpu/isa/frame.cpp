#include "kernels.h"
#include "lanes.h"

namespace mms::MMS_ISA {
namespace {

// e^x for x <= 0 with a relative error below 2e-7, and 0 below -87. Only additions and
// multiplications, so that every machine gives the same bits.
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

/// Put the lanes of all groups one after the other.
inline void to_lanes(const Floats* groups, float* lanes) {
  for (int group = 0; group < kGroups; ++group) store(lanes + group * kWidth, groups[group]);
}

Peak find_peak(const float* scores, std::int64_t size) {
  Floats best[kGroups];
  Ints nan[kGroups] = {};
  for (Floats& group : best) group = Floats{} - __builtin_inff();
  for_each_vector(scores, size, [&](int group, Floats values) {
    best[group] = values > best[group] ? values : best[group];
    nan[group] |= values != values;
  });
  bool has_nan = false;
  for (const Ints& group : nan) has_nan |= any(group);
  float lanes[kLanes];
  to_lanes(best, lanes);
  float peak = lanes[0];
  for (const float lane : lanes) peak = lane > peak ? lane : peak;
  return {peak, has_nan};
}

std::int64_t find_first(const float* scores, std::int64_t size, float value) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    Ints found = {};
    for (int group = 0; group < kGroups; ++group) {
      found |= load(scores + i + group * kWidth) == value;
    }
    if (any(found)) break;
  }
  while (scores[i] != value) ++i;
  return i;
}

float sum_exp(const float* scores, std::int64_t size, float peak) {
  Floats sum[kGroups] = {};
  for_each_vector(scores, size, [&](int group, Floats values) {
    sum[group] += exp_nonpositive(values - peak);
  });
  float lanes[kLanes];
  to_lanes(sum, lanes);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

}  // namespace

const FrameKernels kFrame{find_peak, find_first, sum_exp};

}  // namespace mms::MMS_ISA
