// Greedy CTC decoding: the most likely token of each frame, repeats collapsed, blanks removed.
//
// With x the scores of frame t, p = log_softmax(x) where they are logits and p = x where they are
// log-probabilities, and k the lowest id of a greatest x, a maximal run [start, end) of frames with
// the same k that is not the blank is one token; its
//   score = mean over t in [start, end) of p_t[k]
//   peak  = max  over t in [start, end) of p_t[k]
// float16 and bfloat16 give the bits of the same values in float32. A run may continue in the next
// step, so any chunking gives the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "mms/scores.h"
#include "mms/tokens.h"

namespace mms {

/// State between two steps. Owned by the caller, freely copied.
struct GreedyState {
  std::int32_t blank = 0;
  std::int32_t open = 0;   ///< Token of the open run; `blank` for none.
  std::int64_t vocab = 0;  ///< 0 before the first step.
  std::int64_t frame = 0;  ///< Frames read.
  std::int64_t start = 0;  ///< First frame of the open run.
  double sum = 0.0;        ///< Sum of the open run's log-probabilities, in order of time.
  double peak = 0.0;       ///< Greatest of them.
};

/// Start an utterance. Throws std::invalid_argument if `blank` is negative.
GreedyState greedy_begin(std::int32_t blank);

/// Read frames and append the tokens that end in them.
///
/// Throws std::invalid_argument, with `state` and `tokens` unchanged, for a frame with NaN or +inf
/// or with nothing but -inf, a blank outside the vocabulary, or another vocabulary than before.
void greedy_step(GreedyState& state, const Scores& scores, TimedTokens& tokens);

/// Append the open token, if any.
void greedy_end(const GreedyState& state, TimedTokens& tokens);

/// Decode every row of a batch. The result does not depend on `threads`.
///
/// Throws std::invalid_argument for the lowest row that cannot be decoded.
std::vector<TimedTokens> greedy_batch(const ScoresBatch& batch,
                                      std::int32_t blank,
                                      std::int64_t threads);

}  // namespace mms
