#include "exp.h"
#include "kernels.h"

namespace mms::MMS_ISA {
namespace {

// One pass over the frame finds the maximum and its block of kBlock scores; only that block, still
// in the cache, is searched for the position.
constexpr std::int64_t kBlock = 256;

/// Per lane: the maximum so far, the block of its first occurrence (an integer, exact for
/// vocabularies below 2^32), and any NaN.
struct Scan {
  Floats best[kGroups];
  Floats block[kGroups] = {};
  Flags nan[kGroups] = {};

  Scan() {
    for (Floats& group : best) group = Floats{} - __builtin_inff();
  }
};

/// The last vector may overlap the one before it: reading a score twice does not change a maximum.
template <typename Type>
inline void scan_lanes(const typename Type::Number* numbers, Scan& scan) {
  for (int group = 0; group < kGroups; ++group) {
    const Floats values = Type::load(numbers + group * kWidth);
    scan.best[group] = values > scan.best[group] ? values : scan.best[group];
    scan.nan[group] |= is_nan(values);
  }
}

template <typename Type>
inline void scan_block(const typename Type::Number* numbers,
                       std::int64_t start,
                       std::int64_t end,
                       Scan& scan) {
  std::int64_t i = start;
  for (; i + kLanes <= end; i += kLanes) scan_lanes<Type>(numbers + i, scan);
  if (i < end) scan_lanes<Type>(numbers + end - kLanes, scan);
}

/// Lowest index of `value`, which exists, from `start` on. size >= kLanes.
template <typename Type>
inline std::int64_t find_from(const typename Type::Number* numbers,
                              std::int64_t start,
                              std::int64_t size,
                              float value) {
  const Floats wanted = Floats{} + value;
  for (std::int64_t i = start;; i += kLanes) {
    if (i + kLanes > size) i = size - kLanes;
    std::uint32_t bits = 0;
    for (int group = 0; group < kGroups; ++group) {
      bits |= bits_of(equal(Type::load(numbers + i + group * kWidth), wanted)) << (group * kWidth);
    }
    if (bits != 0) return i + __builtin_ctz(bits);
  }
}

/// First block with `value`, the maximum.
inline std::int64_t first_block_of(const Scan& scan, float value) {
  Floats met[kGroups];
  for (int group = 0; group < kGroups; ++group) {
    met[group] = scan.best[group] == value ? scan.block[group] : Floats{} + __builtin_inff();
  }
  return static_cast<std::int64_t>(join(met, [](Floats a, Floats b) { return a < b ? a : b; }));
}

/// A frame of at least kLanes scores.
template <typename Type>
inline Best best_of_long(const typename Type::Number* numbers, std::int64_t size) {
  Scan scan;
  scan_block<Type>(numbers, 0, size < kBlock ? size : kBlock, scan);
  for (std::int64_t start = kBlock; start < size; start += kBlock) {
    const Scan before = scan;
    const std::int64_t end = start + kBlock < size ? start + kBlock : size;
    scan_block<Type>(numbers, start, end, scan);
    const auto number = static_cast<float>(start / kBlock);
    for (int group = 0; group < kGroups; ++group) {
      const Ints risen = scan.best[group] > before.best[group];
      scan.block[group] = risen ? Floats{} + number : scan.block[group];
    }
  }
  Flags nan = scan.nan[0];
  for (int group = 1; group < kGroups; ++group) nan |= scan.nan[group];
  if (bits_of(nan) != 0) return {__builtin_nanf(""), 0.0F, 0};
  Floats best[kGroups];
  for (int group = 0; group < kGroups; ++group) best[group] = scan.best[group];
  const float score = join(best, [](Floats a, Floats b) { return a > b ? a : b; });
  const std::int64_t start = size > kBlock ? first_block_of(scan, score) * kBlock : 0;
  return {score, 0.0F, static_cast<std::int32_t>(find_from<Type>(numbers, start, size, score))};
}

template <typename Type>
inline Best best_of(const typename Type::Number* numbers, std::int64_t size) {
  if (size >= kLanes) return best_of_long<Type>(numbers, size);
  typename Type::Number filled[kLanes];
  for (std::int64_t i = 0; i < kLanes; ++i) filled[i] = i < size ? numbers[i] : Type::kLowest;
  return best_of_long<Type>(filled, kLanes);
}

template <typename Type>
void find_best_of(const typename Type::Number* numbers,
                  std::int64_t vocab,
                  std::int64_t count,
                  std::int32_t unscored,
                  Best* best) {
  for (std::int64_t i = 0; i < count; ++i, numbers += vocab) {
    best[i] = best_of<Type>(numbers, vocab);
    const bool finite = best[i].score - best[i].score == 0.0F;
    // The frame is still cached. Most frames are blank, and need no softmax.
    if (finite && best[i].token != unscored) {
      best[i].sum = sum_exp<Type>(numbers, vocab, best[i].score);
    }
  }
}

void find_best(
    const Scores& scores, std::int64_t first, std::int64_t count, std::int32_t blank, Best* best) {
  with_type(scores.dtype, [&](auto type) {
    using Type = decltype(type);
    const auto* numbers = static_cast<const typename Type::Number*>(scores.data);
    const auto* frame = numbers + first * scores.vocab;
    if (scores.kind == ScoreKind::kLogProbs) {
      for (std::int64_t i = 0; i < count; ++i) {
        best[i] = best_of<Type>(frame + i * scores.vocab, scores.vocab);
      }
    } else {
      find_best_of<Type>(frame, scores.vocab, count, blank, best);
    }
  });
}

}  // namespace

const GreedyKernels kGreedy{find_best};

}  // namespace mms::MMS_ISA
