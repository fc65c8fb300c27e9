// Inner loops of the prefix beam.
#pragma once

#include <cstdint>

namespace mms {

/// Array sizes are multiples of this number of doubles.
constexpr std::int64_t kBeamLanes = 8;

/// Log-probabilities of hypotheses in a frame, one element per hypothesis.
struct StayInputs {
  const double* blank;      ///< Paths ending in a blank, up to the previous frame.
  const double* label;      ///< Paths ending in the last label.
  const double* total;      ///< All paths.
  const double* parent;     ///< Contribution of the parent prefix; -inf for none.
  const double* last_logp;  ///< Last label in this frame.
  const double* gain;       ///< Gain by language model and hotwords.
  double blank_logp;        ///< Blank in this frame.
};

struct StayOutputs {
  double* blank;
  double* label;
  double* total;
  double* score;
};

struct Range {
  double low;
  double high;
};

/// Best paths of hypotheses, by their ending.
struct PathInputs {
  const double* blank;
  const double* label;
  const double* parent;
  const double* last_logp;
  const double* sum;          ///< Sum of log-probabilities of the last label's frames.
  const double* peak;         ///< Greatest of them.
  const std::int64_t* start;  ///< First of its frames.
  double blank_logp;
  std::int64_t frame;
};

constexpr std::int64_t kPathCloses = 1;  ///< The path that ends in a blank comes from the label.
constexpr std::int64_t kPathBegins = 2;  ///< The path that ends in the label comes from the parent.

struct PathOutputs {
  double* blank;
  double* label;
  double* best;
  double* sum;
  double* peak;
  std::int64_t* start;
  std::int64_t* change;  ///< kPathCloses and kPathBegins, or'ed.
};

/// Maximum number of keys of `sort_keys`.
constexpr std::int64_t kMaxSortedKeys = 64;

struct BeamKernels {
  /// Advance `size` hypotheses by one frame; returns the range of scores.
  Range (*stay)(const StayInputs& in, const StayOutputs& out, std::int64_t size);
  /// Advance their best paths.
  void (*paths)(const PathInputs& in, const PathOutputs& out, std::int64_t size);
  /// Write a key for each token with a log-probability of at least `threshold` and above -inf, by
  /// id. Ascending keys are descending probabilities, lower ids first among equals. Returns the
  /// number of keys.
  std::int64_t (*find_tokens)(const float* log_probs,
                              std::int64_t size,
                              float threshold,
                              std::uint64_t* keys);
  /// Sort at most kMaxSortedKeys keys, given that keys with equal upper halves are in order.
  void (*sort_keys)(std::uint64_t* keys, std::int64_t count);
};

}  // namespace mms
