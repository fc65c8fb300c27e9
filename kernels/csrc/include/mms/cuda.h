// What the CUDA kernels take and leave: plain structs, passed by value or kept on the device.
//
// All memory is the caller's. A kernel reads and writes nothing else, keeps no state of its own,
// and reports what is wrong with a stream in that stream's Status; the stream is then as it was.
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
  kCapacity,    ///< The output or the arena has no room.
  kTarget,      ///< A target is not a token, or is the blank; or their number is out of range.
  kInfeasible,  ///< The frames are too few for the targets.
  kImpossible,  ///< Every path has probability 0.
};

struct Status {
  Code code;
  std::int32_t unused;
  std::int64_t frame;  ///< Of the scores, or target, that is wrong.
};

/// What is to be known of a frame before it is decoded.
struct Frame {
  std::int32_t best;  ///< The lowest of the most likely tokens.
  Code code;          ///< Of the first three.
  float score;        ///< Log-probability of `best`.
  float offset;       ///< Score minus offset is a token's log-probability.
};

/// mms_frames(ScoresBatch scores, Frame* frames [rows, scores.frames]).
/// A warp for each frame: grid (frames / warps of a block, rows), block 32 to 1024.

/// State of a greedy stream between two chunks; `open` is the blank at first, the rest 0.
struct GreedyStream {
  std::int32_t open;
  std::int32_t unused;
  std::int64_t frame;
  std::int64_t start;
  double sum;
  double peak;
};

/// mms_greedy(GreedyArgs): a warp for each stream; grid (rows), block 32. Row r is a chunk of
/// stream `slots[r]`.
struct GreedyArgs {
  const Frame* frames;          ///< [rows, frame_stride] of mms_frames.
  const std::int64_t* lengths;  ///< [rows]
  std::int64_t frame_stride;
  const std::int32_t* slots;  ///< [rows] no two the same; -1: leave the row out. Null: slot r.
  GreedyStream* streams;      ///< [slots], on the device from chunk to chunk.
  Status* status;             ///< [rows] out
  std::int64_t* counts;       ///< [rows] out: tokens that ended in this chunk.
  std::int32_t* ids;          ///< [rows, capacity] out, as are the next four
  std::int64_t* starts;
  std::int64_t* ends;
  float* scores;
  float* peaks;
  std::int64_t capacity;  ///< At least the frames of the chunk and one.
  std::int32_t blank;
  std::int32_t finish;  ///< Not 0: also the token that is still open, and start over.
};

/// mms_align(AlignArgs): a block for each utterance; grid (rows), block 32 to 1024.
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
  std::int32_t has_star;  ///< Not 0: `star` in the targets is no column of the scores, but
  std::int32_t star;      ///< a token whose log-probability is
  float star_score;       ///< this one in each frame.
};

/// Words of back-pointers that an utterance needs.
MMS_HD constexpr std::int64_t align_bits(std::int64_t frames, std::int64_t targets) {
  return frames * 3 * (targets / 32 + 1);
}

/// Dynamic shared memory of mms_align where `cells` is null, in bytes.
constexpr std::int64_t align_shared_bytes(std::int64_t targets) { return 32 * (targets + 1); }

}  // namespace mms::cuda
