// Forced alignment: the most likely CTC path whose tokens are a given target.
//
// With e_t the log-probabilities of frame t, y_0 .. y_{L-1} the target and 0 for the blank,
//   a_t[j] = max(a_{t-1}[j], b_{t-1}[j-1]) + e_t[0]                  blank after j tokens
//   b_t[j] = max(b_{t-1}[j], a_{t-1}[j], b_{t-1}[j-1]*) + e_t[y_j]   token j;  * if y_j != y_{j-1}
// from a_{-1}[0] = 0, and the score is max(a_{T-1}[L], b_{T-1}[L-1]).
//
// Exactness. Each e_t is a float32 rounded to a multiple of 2^-26 (which changes nothing where it
// is below -1/8, and elsewhere less than 1e-8); sums are float64. So every sum above -2^27 is exact
// and the path is the best one, whatever the number of frames; below that (1.3e8 nats) sums are
// rounded to 53 bits. Exact sums also make every instruction set, memory bound and band agree.
//
// Ties. Of equally good paths there is one that is ahead of all others in every frame, and that one
// is taken: each token begins as early as it can.
#pragma once

#include <cstdint>
#include <vector>

#include "mms/scores.h"

namespace mms {

struct AlignOptions {
  std::int32_t blank = 0;
  /// Allow `star` in the target: a wildcard without a column in the scores, of log-probability
  /// `star_score` in each frame.
  bool has_star = false;
  std::int64_t star = -1;
  float star_score = 0.0F;
  /// Limit of the working memory of all threads, without scores and results.
  std::int64_t max_bytes = std::int64_t{256} << 20;
  /// Try only paths on which token j of L lies within this many frames of frame j * T / L, and
  /// double the band until no other path can be as good. 0 tries all paths at once.
  std::int64_t band = 0;
};

/// A target, token ids. Not owned.
struct AlignTarget {
  const std::int64_t* tokens;
  std::int64_t size;
};

/// Targets of a batch, `rows` blocks of `width` token ids. Not owned.
struct AlignTargets {
  const std::int64_t* tokens;
  std::int64_t width;
  const std::int64_t* lengths;  ///< Valid tokens of each row.
};

/// Entry i of each vector belongs to token i of the target.
struct Alignment {
  std::vector<std::int64_t> starts;  ///< First frame.
  std::vector<std::int64_t> ends;    ///< Frame after the last.
  std::vector<float> scores;         ///< Mean log-probability of the token over its frames.
  double score = 0.0;                ///< Log-probability of the path, blanks included.
};

/// Align one utterance.
///
/// Throws std::invalid_argument if the target is longer than the frames allow, or holds the blank
/// or an invalid token; for a frame with NaN or +inf, or with nothing but -inf; if every path has
/// probability zero; or if `max_bytes` is too small.
Alignment forced_align(const Scores& scores,
                       const AlignTarget& target,
                       const AlignOptions& options);

/// Align every row of a batch. The result does not depend on `threads`.
///
/// Throws std::invalid_argument for the lowest row that cannot be aligned.
std::vector<Alignment> forced_align_batch(const ScoresBatch& batch,
                                          const AlignTargets& targets,
                                          const AlignOptions& options,
                                          std::int64_t threads);

}  // namespace mms
