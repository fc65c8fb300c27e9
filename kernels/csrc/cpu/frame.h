// One frame: checks, best score, log-probabilities.
#pragma once

#include <cstdint>

#include "mms/scores.h"

namespace mms {

/// Scores of a frame as float32 [vocab], in place or in `out`.
const float* widen(const Scores& scores, std::int64_t frame, float* out);

/// Greatest score of a frame.
struct Peak {
  float value;   ///< -inf if all scores are.
  bool has_nan;  ///< A score is NaN; `value` is then meaningless.
};

Peak find_peak(const float* scores, std::int64_t size);

/// Throw std::invalid_argument, naming `frame`, unless the peak is finite.
void check_peak(const Peak& peak, std::int64_t frame);

/// Throw std::invalid_argument unless the blank is a token and the vocabulary equals that of
/// earlier steps (`earlier`, 0 for none).
void check_vocab(std::int64_t vocab, std::int64_t earlier, std::int32_t blank);

/// Natural-log probabilities of a frame as float32 [vocab], in `out` or, if nothing has to be
/// computed, in place. Errors name frame `first_frame + frame`.
///
/// Throws std::invalid_argument for a frame with NaN or +inf, or with nothing but -inf.
const float* log_probs_of(const Scores& scores,
                          std::int64_t frame,
                          std::int64_t first_frame,
                          float* out);

}  // namespace mms
