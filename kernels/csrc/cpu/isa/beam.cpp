#include "kernels.h"
#include "lanes.h"

namespace mms::MMS_ISA {
namespace {

constexpr int kDoubles = MMS_VECTOR_BYTES / 8;

using Doubles = double __attribute__((vector_size(MMS_VECTOR_BYTES)));
using Longs = std::int64_t __attribute__((vector_size(MMS_VECTOR_BYTES)));

template <typename Vector, typename Value>
inline Vector read(const Value* values) {
  Vector vector;
  std::memcpy(&vector, values, sizeof vector);
  return vector;
}

template <typename Vector, typename Value>
inline void write(Value* target, Vector vector) {
  std::memcpy(target, &vector, sizeof vector);
}

inline bool any(Longs mask) {
  std::int64_t bits = 0;
  for (int lane = 0; lane < kDoubles; ++lane) bits |= mask[lane];
  return bits != 0;
}

inline Doubles larger(Doubles a, Doubles b) { return a > b ? a : b; }
inline Doubles smaller(Doubles a, Doubles b) { return a > b ? b : a; }

// The polynomials below are evaluated as trees (Estrin), which shortens dependency chains.

// e^x for -38 <= x <= 0, relative error below 1e-15. Additions and multiplications only.
inline Doubles exp_nonpositive(Doubles x) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const Doubles shifted = x * 1.4426950408889634 + kRound;
  const Doubles exponent = shifted - kRound;
  // ln 2 in two parts: the first has so few bits that its product with the exponent is exact.
  const Doubles r = x - exponent * 0.693147180369123816490 - exponent * 1.90821492927058770002e-10;
  const Doubles r2 = r * r;
  const Doubles r4 = r2 * r2;
  const Doubles c01 = 1.0 + r * 1.0000000000000067;
  const Doubles c23 = 0.5000000000000006 + r * 0.16666666666554314;
  const Doubles c45 = 0.041666666666573066 + r * 0.008333333385699212;
  const Doubles c67 = 0.001388888893251478 + r * 0.00019841170230570286;
  const Doubles c89 = 2.480150431378554e-05 + r * 2.764019739169484e-06;
  const Doubles low = c01 + r2 * c23;
  const Doubles middle = c45 + r2 * c67;
  const Doubles high = c89 + r2 * 2.7626371065696354e-07;
  const Doubles series = low + r4 * (middle + r4 * high);
  const Longs scale = (__builtin_bit_cast(Longs, shifted) + 1023) << 52;
  return series * __builtin_bit_cast(Doubles, scale);
}

// log(1 + y) for 0 <= y <= 1, relative error below 1e-15: 2 atanh(y / (2 + y)), a polynomial in
// the square of the quotient, which is at most 1/9.
inline Doubles log1p_fraction(Doubles y) {
  const Doubles quotient = y / (y + 2.0);
  const Doubles z = quotient * quotient;
  const Doubles z2 = z * z;
  const Doubles z4 = z2 * z2;
  const Doubles c01 = 1.0 + z * 0.33333333333341286;
  const Doubles c23 = 0.199999999976438 + z * 0.1428571455582858;
  const Doubles c45 = 0.11111095430673142 + z * 0.09091429900236955;
  const Doubles c67 = 0.07681838124445817 + z * 0.06795652742789947;
  const Doubles c89 = 0.04940394524382393 + z * 0.08890381913056651;
  const Doubles low = c01 + z2 * c23;
  const Doubles high = c45 + z2 * c67 + z4 * c89;
  return (quotient + quotient) * (low + z4 * high);
}

/// log(e^a + e^b); -inf if both are. A term 38 nats below the other changes less than the last bit
/// and is left out, so that most vectors need no arithmetic.
inline Doubles log_add(Doubles a, Doubles b) {
  const Doubles high = larger(a, b);
  const Doubles difference = smaller(a, b) - high;
  const Longs counts = difference > -38.0;  // false for the NaN of -inf - -inf
  if (!any(counts)) return high;
  const Doubles bounded = counts ? difference : Doubles{} - 38.0;
  return counts ? high + log1p_fraction(exp_nonpositive(bounded)) : high;
}

Range stay(const StayInputs& in, const StayOutputs& out, std::int64_t size) {
  Doubles low = Doubles{} + __builtin_inf();
  Doubles high = Doubles{} - __builtin_inf();
  for (std::int64_t i = 0; i < size; i += kDoubles) {
    const Doubles blank = read<Doubles>(in.total + i) + in.blank_logp;
    const Doubles label = log_add(read<Doubles>(in.label + i), read<Doubles>(in.parent + i)) +
                          read<Doubles>(in.last_logp + i);
    const Doubles total = log_add(blank, label);
    const Doubles score = total + read<Doubles>(in.gain + i);
    write(out.blank + i, blank);
    write(out.label + i, label);
    write(out.total + i, total);
    write(out.score + i, score);
    // The score of an empty slot is NaN, which loses both comparisons.
    low = smaller(low, score);
    high = larger(score, high);
  }
  Range range{low[0], high[0]};
  for (int lane = 1; lane < kDoubles; ++lane) {
    range.low = low[lane] < range.low ? low[lane] : range.low;
    range.high = high[lane] > range.high ? high[lane] : range.high;
  }
  return range;
}

void paths(const PathInputs& in, const PathOutputs& out, std::int64_t size) {
  const Longs closing = Longs{} + kPathCloses;
  const Longs beginning = Longs{} + kPathBegins;
  for (std::int64_t i = 0; i < size; i += kDoubles) {
    const Doubles last = read<Doubles>(in.last_logp + i);
    const Doubles blank = read<Doubles>(in.blank + i);
    const Doubles label = read<Doubles>(in.label + i);
    const Doubles parent = read<Doubles>(in.parent + i);
    const Longs closes = label > blank;
    const Longs begins = parent > label;
    const Doubles new_blank = larger(blank, label) + in.blank_logp;
    const Doubles new_label = larger(label, parent) + last;
    write(out.blank + i, new_blank);
    write(out.label + i, new_label);
    write(out.best + i, larger(new_blank, new_label));
    write(out.sum + i, begins ? last : read<Doubles>(in.sum + i) + last);
    write(out.peak + i, begins ? last : larger(read<Doubles>(in.peak + i), last));
    write(out.start + i, begins ? Longs{} + in.frame : read<Longs>(in.start + i));
    write(out.change + i, (closes & closing) | (begins & beginning));
  }
}

inline std::uint64_t key_of(float log_prob, std::int64_t token) {
  const auto bits = __builtin_bit_cast(std::uint32_t, log_prob + 0.0F);  // -0 becomes 0
  const std::uint32_t descending = (bits >> 31) != 0 ? bits : bits ^ 0x7FFFFFFFU;
  return static_cast<std::uint64_t>(descending) << 32 | static_cast<std::uint64_t>(token);
}

std::int64_t find_tokens(const float* log_probs,
                         std::int64_t size,
                         float threshold,
                         std::uint64_t* keys) {
  // Excludes -inf.
  const float least = threshold > -3.402823466e+38F ? threshold : -3.402823466e+38F;
  std::int64_t count = 0;
  std::int64_t i = 0;
  for (; i < size; i += kLanes) {
    float rest[kLanes];
    const float* values = log_probs + i;
    if (size - i < kLanes) {
      load_rest(values, size - i, rest);
      values = rest;
    }
    Ints found = {};
    for (int group = 0; group < kGroups; ++group) found |= load(values + group * kWidth) >= least;
    if (!any(found)) continue;
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      // Always written, counted if wanted: no branch to mispredict.
      keys[count] = key_of(values[lane], i + lane);
      count += values[lane] >= least ? 1 : 0;
    }
  }
  return count;
}

// Rank sort: counts the keys before each one, without branches.
void sort_keys(std::uint64_t* keys, std::int64_t count) {
  std::uint64_t unsorted[kMaxSortedKeys];
  std::int32_t upper[kMaxSortedKeys];
  std::int32_t ranks[kMaxSortedKeys];
  for (std::int64_t i = 0; i < count; ++i) {
    unsorted[i] = keys[i];
    upper[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(keys[i] >> 32) ^ 0x80000000U);
  }
  for (std::int64_t i = count; i % kWidth != 0; ++i) upper[i] = 0;
  for (std::int64_t i = 0; i < count; i += kWidth) {
    const Ints own = load_bits<Ints>(upper + i);
    const Ints place = lane_numbers() + static_cast<std::int32_t>(i);
    Ints before = {};
    for (std::int64_t j = 0; j < count; ++j) {
      const Ints other = Ints{} + upper[j];
      const Ints earlier = place > static_cast<std::int32_t>(j);
      before -= (other < own) | ((other == own) & earlier);
    }
    std::memcpy(ranks + i, &before, sizeof before);
  }
  for (std::int64_t i = 0; i < count; ++i) keys[ranks[i]] = unsorted[i];
}

}  // namespace

const BeamKernels kBeam{stay, paths, find_tokens, sort_keys};

}  // namespace mms::MMS_ISA
