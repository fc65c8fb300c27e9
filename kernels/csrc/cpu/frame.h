// One frame: its checks, its best token, its log-probabilities.
#pragma once

#include <cstdint>

#include "mms/scores.h"

namespace mms {

/// The numbers of frame `frame` as float32 [vocab], in place or in `out`.
const float* widen(const Scores& scores, std::int64_t frame, float* out);

/// The greatest of a frame's scores.
struct Peak {
  float value;   ///< -inf where there is nothing greater.
  bool has_nan;  ///< Whether some score is not a number; `value` is then meaningless.
};

Peak find_peak(const float* scores, std::int64_t size);

/// Throw std::invalid_argument, naming `frame`, unless the frame's peak is a finite number.
void check_peak(const Peak& peak, std::int64_t frame);

/// Throw std::invalid_argument unless the blank is a token, and the vocabulary that of earlier
/// steps (`earlier`, 0 for none).
void check_vocab(std::int64_t vocab, std::int64_t earlier, std::int32_t blank);

/// Natural-log probabilities of frame `frame` as float32 [vocab], in `out` or, where nothing has
/// to be computed, in place. `first_frame` is added to the number that an error names.
///
/// Throws std::invalid_argument where the frame holds NaN or +inf or nothing but -inf.
const float* log_probs_of(const Scores& scores,
                          std::int64_t frame,
                          std::int64_t first_frame,
                          float* out);

}  // namespace mms
