// Access to the acoustic model's output in any of its types.
#pragma once

#include "device.cuh"
#include "mms/cuda.h"

namespace mms::cuda {

/// Exact for every float16, including subnormals: the product only shifts the exponent.
__device__ inline float from_half(std::uint32_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t magnitude = (bits & 0x7FFFU) << 13;
  if ((bits & 0x7C00U) == 0x7C00U) return __uint_as_float(sign | 0x7F800000U | magnitude);
  return __uint_as_float(sign | __float_as_uint(__uint_as_float(magnitude) * 0x1p112F));
}

__device__ inline float score_at(const ScoresBatch& scores, std::int64_t index) {
  if (scores.dtype == DType::kFloat32) return static_cast<const float*>(scores.data)[index];
  const std::uint32_t bits = static_cast<const std::uint16_t*>(scores.data)[index];
  return scores.dtype == DType::kFloat16 ? from_half(bits) : __uint_as_float(bits << 16);
}

/// First valid frame of a row.
__device__ inline std::int64_t row_begin(const ScoresBatch& scores, std::int64_t row) {
  return scores.begins == nullptr ? 0 : scores.begins[row];
}

/// Index of the first score of a row's valid frame `frame`.
__device__ inline std::int64_t frame_begin(const ScoresBatch& scores,
                                           std::int64_t row,
                                           std::int64_t frame) {
  return (row * scores.frames + row_begin(scores, row) + frame) * scores.vocab;
}

/// True if the valid frames of a row are within the batch.
__device__ inline bool has_frames(const ScoresBatch& scores, std::int64_t row) {
  const std::int64_t begin = row_begin(scores, row);
  const std::int64_t length = scores.lengths[row];
  return begin >= 0 && length >= 0 && begin <= scores.frames && length <= scores.frames - begin;
}

/// Stream of a row; -1 for none.
__device__ inline std::int64_t slot_of(const std::int32_t* slots, std::int64_t row) {
  return slots == nullptr ? row : slots[row];
}

/// First faulty frame of a row, or `length`. For whole warps.
__device__ inline std::int64_t first_bad_frame(const Frame* frames, std::int64_t length) {
  for (std::int64_t base = 0; base < length; base += kWarpSize) {
    const std::int64_t frame = base + lane_id();
    const bool bad = frame < length && frames[frame].code != Code::kOk;
    const std::uint32_t lanes = __ballot_sync(kAllLanes, bad);
    if (lanes != 0) return base + __ffs(static_cast<std::int32_t>(lanes)) - 1;
  }
  return length;
}

/// Check the length and frames of a row. For whole warps.
__device__ inline Status check_frames(const Frame* frames,
                                      std::int64_t length,
                                      std::int64_t capacity) {
  if (length < 0 || length > capacity) return {Code::kLength, 0, 0};
  const std::int64_t bad = first_bad_frame(frames, length);
  if (bad < length) return {frames[bad].code, 0, bad};
  return {Code::kOk, 0, 0};
}

}  // namespace mms::cuda
