// Half-precision weights as float32.
#pragma once

#include <cstdint>

#include "mms/scores.h"

namespace mms {

/// Write `size` numbers as float32, exactly, on up to `threads` threads.
///
/// Throws std::invalid_argument if `threads` is less than 1.
void widen_all(
    const void* numbers, DType dtype, std::int64_t size, float* out, std::int64_t threads);

}  // namespace mms
