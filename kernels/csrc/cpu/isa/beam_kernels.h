// What the prefix beam asks of an instruction set.
#pragma once

#include <cstdint>

namespace mms {

/// Arrays of doubles are read and written in groups of so many: their sizes are multiples of it.
constexpr std::int64_t kBeamLanes = 8;

/// The probabilities of hypotheses at one frame, one number a hypothesis; natural logarithms.
struct StayInputs {
  const double* blank;      ///< Of the prefix ending in a blank, up to the frame before.
  const double* label;      ///< Of the prefix ending in its last label.
  const double* total;      ///< Of both.
  const double* parent;     ///< What the prefix without its last label brings in; -inf for none.
  const double* last_logp;  ///< Of the last label in this frame.
  const double* gain;       ///< What language model and hotwords add to the score.
  double blank_logp;        ///< Of the blank in this frame.
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

/// The best paths of hypotheses, by how they end.
struct PathInputs {
  const double* blank;
  const double* label;
  const double* parent;
  const double* last_logp;
  const double* sum;          ///< Of the log-probabilities of the last label's frames.
  const double* peak;         ///< The greatest of them.
  const std::int64_t* start;  ///< The first of its frames.
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

/// Keys that `sort_keys` can sort.
constexpr std::int64_t kMaxSortedKeys = 64;

struct BeamKernels {
  /// Take `size` hypotheses over one frame; returns the range of the scores.
  Range (*stay)(const StayInputs& in, const StayOutputs& out, std::int64_t size);
  /// The same for their best paths.
  void (*paths)(const PathInputs& in, const PathOutputs& out, std::int64_t size);
  /// Write a key for each token whose log-probability is at least `threshold` and not -inf, in
  /// order of ids; keys in ascending order are tokens in descending order of probability, the
  /// lower id first among equals. Returns how many.
  std::int64_t (*find_tokens)(const float* log_probs,
                              std::int64_t size,
                              float threshold,
                              std::uint64_t* keys);
  /// Sort at most kMaxSortedKeys keys in which what is equal in the upper half is in order.
  void (*sort_keys)(std::uint64_t* keys, std::int64_t count);
};

}  // namespace mms
