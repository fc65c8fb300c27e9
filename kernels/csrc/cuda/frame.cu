// Best token of each frame, its log-probability, and the offset that normalises the frame.
#include "scores.cuh"

namespace mms::cuda {
namespace {

struct Best {
  float value;
  std::int32_t token;
  bool has_nan;
};

/// Greatest score of a frame and its lowest token. For whole warps.
__device__ Best find_best(const ScoresBatch& scores, std::int64_t begin) {
  Best best{-kInfinity, 0x7FFFFFFF, false};
  for (std::int64_t token = lane_id(); token < scores.vocab; token += kWarpSize) {
    const float value = score_at(scores, begin + token);
    best.has_nan |= value != value;
    if (value > best.value) {
      best.value = value;
      best.token = static_cast<std::int32_t>(token);
    }
  }
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    const float value = __shfl_xor_sync(kAllLanes, best.value, step);
    const std::int32_t token = __shfl_xor_sync(kAllLanes, best.token, step);
    if (value > best.value || (value == best.value && token < best.token)) {
      best.value = value;
      best.token = token;
    }
  }
  best.has_nan = __any_sync(kAllLanes, best.has_nan) != 0;
  return best;
}

__device__ float sum_exp(const ScoresBatch& scores, std::int64_t begin, float peak) {
  float sum = 0.0F;
  for (std::int64_t token = lane_id(); token < scores.vocab; token += kWarpSize) {
    sum += expf(score_at(scores, begin + token) - peak);
  }
  return warp_sum(sum);
}

__device__ Code code_of(const Best& best) {
  if (best.has_nan) return Code::kNan;
  if (best.value == kInfinity) return Code::kInfinite;
  return best.value == -kInfinity ? Code::kEmpty : Code::kOk;
}

}  // namespace
}  // namespace mms::cuda

extern "C" __global__ void mms_frames(mms::ScoresBatch scores, mms::cuda::Frame* frames) {
  using namespace mms::cuda;
  const std::int64_t row = blockIdx.y;
  const std::int64_t frame =
      static_cast<std::int64_t>(blockIdx.x) * (block_threads() / kWarpSize) + warp_id();
  if (frame >= scores.lengths[row] || frame >= scores.frames) return;
  if (!has_frames(scores, row)) {
    if (lane_id() == 0) frames[row * scores.frames + frame] = {0, Code::kLength, 0.0F, 0.0F};
    return;
  }
  const std::int64_t begin = frame_begin(scores, row, frame);
  const Best best = find_best(scores, begin);
  Frame result{best.token, code_of(best), best.value, 0.0F};
  if (result.code == Code::kOk && scores.kind == mms::ScoreKind::kLogits) {
    const double log_sum = log(static_cast<double>(sum_exp(scores, begin, best.value)));
    result.score = static_cast<float>(-log_sum);
    result.offset = static_cast<float>(best.value + log_sum);
  }
  if (lane_id() == 0) frames[row * scores.frames + frame] = result;
}
