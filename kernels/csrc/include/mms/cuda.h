// Interface of the CUDA kernels: plain structs, passed by value or kept on the device.
//
// All memory belongs to the caller. Kernels have no state of their own, and report faults of a
// stream in its Status; the stream is then unchanged.
#pragma once

#include <cstdint>

#include "mms/hd.h"
#include "mms/scores.h"

namespace mms::cuda {

enum class Code : std::int32_t {
  kOk,
  kNan,         ///< A frame holds NaN.
  kInfinite,    ///< A frame holds +inf.
  kEmpty,       ///< A frame is -inf for every token.
  kLength,      ///< The length is not in [0, frames].
  kCapacity,    ///< The output or the arena is too small.
  kTarget,      ///< A target is invalid or the blank, or the number of targets is out of range.
  kInfeasible,  ///< Too few frames for the targets.
  kImpossible,  ///< Every path has probability 0.
};

struct Status {
  Code code;
  std::int32_t unused;
  std::int64_t frame;  ///< Index of the faulty frame or target.
};

/// Facts of a frame, computed by mms_frames.
struct Frame {
  std::int32_t best;  ///< Lowest id of the most likely token.
  Code code;          ///< kOk or a fault of the frame.
  float score;        ///< Log-probability of `best`.
  float offset;       ///< Subtracted from a score, gives its log-probability.
};

/// mms_frames(ScoresBatch scores, Frame* frames [rows, scores.frames]).
/// One warp per frame: grid (frames / warps per block, rows), block 32 to 1024.

/// Greedy stream between two chunks; initially `open` is the blank and the rest is 0.
struct GreedyStream {
  std::int32_t open;
  std::int32_t unused;
  std::int64_t frame;
  std::int64_t start;
  double sum;
  double peak;
};

/// mms_greedy(GreedyArgs): one warp per stream; grid (rows), block 32. Row r is a chunk of stream
/// `slots[r]`.
struct GreedyArgs {
  const Frame* frames;          ///< [rows, frame_stride] of mms_frames.
  const std::int64_t* lengths;  ///< [rows]
  std::int64_t frame_stride;
  const std::int32_t* slots;  ///< [rows] distinct; -1 skips the row. Null: slot r.
  GreedyStream* streams;      ///< [slots] state.
  Status* status;             ///< [rows] out
  std::int64_t* counts;       ///< [rows] out: tokens that ended in this chunk.
  std::int32_t* ids;          ///< [rows, capacity] out, as are the next four
  std::int64_t* starts;
  std::int64_t* ends;
  float* scores;
  float* peaks;
  std::int64_t capacity;  ///< At least the frames of the chunk plus one.
  std::int32_t blank;
  std::int32_t finish;  ///< Not 0: also write the open token, and reset.
};

/// mms_align(AlignArgs): one block per utterance; grid (rows), block 32 to 1024.
struct AlignArgs {
  ScoresBatch scores;
  const Frame* frames;                 ///< [rows, scores.frames] of mms_frames.
  const std::int32_t* targets;         ///< [rows, target_stride] tokens.
  const std::int64_t* target_lengths;  ///< [rows]
  std::int64_t target_stride;
  std::uint32_t* bits;       ///< Workspace [rows, bits_stride].
  std::int64_t bits_stride;  ///< At least align_bits of the greatest length and target length.
  double* cells;             ///< Workspace [rows, 4 * (target_stride + 1)], or null: shared memory.
  std::int64_t* starts;      ///< [rows, target_stride] out
  std::int64_t* ends;        ///< [rows, target_stride] out
  float* token_scores;       ///< [rows, target_stride] out: mean log-probability over the frames.
  double* path_scores;       ///< [rows] out: log-probability of the path.
  Status* status;            ///< [rows] out
  std::int32_t blank;
  std::int32_t has_star;  ///< Not 0: `star` in the targets is a wildcard,
  std::int32_t star;      ///< not a column of the scores,
  float star_score;       ///< with this log-probability in each frame.
};

/// 32-bit words of back-pointers of an utterance.
MMS_HD constexpr std::int64_t align_bits(std::int64_t frames, std::int64_t targets) {
  return frames * 3 * (targets / 32 + 1);
}

/// Dynamic shared memory of mms_align if `cells` is null, in bytes.
constexpr std::int64_t align_shared_bytes(std::int64_t targets) { return 32 * (targets + 1); }

}  // namespace mms::cuda
