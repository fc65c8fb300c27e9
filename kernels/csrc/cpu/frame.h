// Reductions over one frame. Sums run in a fixed number of lanes and are joined in a fixed order,
// so that the result does not depend on how wide the machine's vectors are.
#pragma once

#include <cstdint>

namespace mms {

/// The greatest of a frame's scores.
struct Peak {
  float value;   ///< -inf where there is nothing greater.
  bool has_nan;  ///< Whether some score is not a number; `value` is then meaningless.
};

Peak find_peak(const float* scores, std::int64_t size);

/// The lowest index of `value`, which is known to be there.
std::int64_t find_first(const float* scores, std::int64_t size, float value);

/// log(softmax(scores)) of a score that equals the greatest one, `peak` (finite).
double log_softmax_of_peak(const float* scores, std::int64_t size, float peak);

}  // namespace mms
