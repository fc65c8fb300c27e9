#include "frame.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "lanes.h"

namespace mms {
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
  const Ints scale = (std::bit_cast<Ints>(shifted) - kRoundBits + 127) << 23;
  return x < lowest ? Floats{} : series * std::bit_cast<Floats>(scale);
}

}  // namespace

Peak find_peak(const float* scores, std::int64_t size) {
  const Floats lowest = Floats{} - std::numeric_limits<float>::infinity();
  Floats best[kGroups] = {lowest, lowest, lowest, lowest};
  Ints nan[kGroups] = {};
  for_each_vector(scores, size, [&](int group, Floats values) {
    best[group] = values > best[group] ? values : best[group];
    nan[group] |= values != values;
  });
  Peak peak{lowest[0], any(nan[0] | nan[1] | nan[2] | nan[3])};
  for (const Floats& group : best) {
    for (int lane = 0; lane < kWidth; ++lane) peak.value = std::max(peak.value, group[lane]);
  }
  return peak;
}

std::int64_t find_first(const float* scores, std::int64_t size, float value) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    Ints found = {};
    for (int group = 0; group < kGroups; ++group)
      found |= load(scores + i + group * kWidth) == value;
    if (any(found)) break;
  }
  while (scores[i] != value) ++i;
  return i;
}

double log_softmax_of_peak(const float* scores, std::int64_t size, float peak) {
  Floats sum[kGroups] = {};
  for_each_vector(scores, size, [&](int group, Floats values) {
    sum[group] += exp_nonpositive(values - peak);
  });
  const Floats half = (sum[0] + sum[2]) + (sum[1] + sum[3]);
  return -std::log(static_cast<double>((half[0] + half[2]) + (half[1] + half[3])));
}

}  // namespace mms
