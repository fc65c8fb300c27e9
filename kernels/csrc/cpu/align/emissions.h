// Log-probabilities of the target's tokens, by blocks of frames.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mms/scores.h"
#include "target.h"

namespace mms {

class AlignEmissions {
 public:
  /// Reserve `blocks` blocks, at least one. The arguments are not copied.
  AlignEmissions(const Scores& scores,
                 const AlignLabels& labels,
                 const AlignOptions& options,
                 std::int64_t blocks);

  /// Columns [column_count, kAlignFrames] of the frames from `begin`, a multiple of kAlignFrames.
  /// Valid until the next call. Throws std::invalid_argument for a bad frame.
  const float* block(std::int64_t begin);

 private:
  void fill(std::int64_t begin, float* columns);
  void fill_rows(std::int64_t begin, std::int64_t count, float* columns);

  const Scores& scores_;
  const AlignLabels& labels_;
  const std::int64_t blank_;
  const float star_score_;
  std::vector<std::int64_t> held_;  ///< Block in each slot, -1 for none.
  std::unique_ptr<float[]> blocks_;
  std::vector<float> rows_;  ///< Scratch for a few frames of all tokens.
};

}  // namespace mms
