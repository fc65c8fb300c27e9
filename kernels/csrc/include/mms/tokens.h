// Decoded tokens with their frames.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

/// Tokens in order of time; entry i of each vector belongs to token i.
struct TimedTokens {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> starts;  ///< First frame.
  std::vector<std::int64_t> ends;    ///< Frame after the last.
  std::vector<float> scores;         ///< Mean log-probability of the token over its frames.
  std::vector<float> peaks;          ///< Greatest of these log-probabilities.

  void resize(std::size_t size) {
    ids.resize(size);
    starts.resize(size);
    ends.resize(size);
    scores.resize(size);
    peaks.resize(size);
  }
};

}  // namespace mms
