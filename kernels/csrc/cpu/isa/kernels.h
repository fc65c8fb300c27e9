// Inner loops, compiled once for each instruction set.
//
// Their sources (*.cpp in this folder) include no standard library code: a template instantiated
// here with AVX-512 could be the copy that the linker keeps for all. Everything is in an anonymous
// namespace, except one table for each instruction set.
#pragma once

#include <cstdint>

#include "../frame.h"
#include "beam_kernels.h"
#include "mms/isa.h"

namespace mms {

struct FrameKernels {
  Peak (*find_peak)(const float* scores, std::int64_t size);
  /// Sum of exp(score - peak).
  float (*sum_exp)(const float* scores, std::int64_t size, float peak);
  void (*widen)(const void* numbers, DType dtype, std::int64_t size, float* out);
};

/// Most likely token of a frame.
struct Best {
  float score;         ///< NaN if the frame has one; the rest is then meaningless.
  float sum;           ///< Sum of exp(x - score); only for logits, not if the blank wins.
  std::int32_t token;  ///< Lowest id of the maximum.
};

struct GreedyKernels {
  /// Fill `best` for `count` frames, beginning with frame `first`.
  void (*find_best)(
      const Scores& scores, std::int64_t first, std::int64_t count, std::int32_t blank, Best* best);
};

// The lattice of an alignment is divided into tiles of kAlignPlaces by kAlignFrames. A place is a
// blank and the token after it.
constexpr std::int64_t kAlignPlaces = 32;
constexpr std::int64_t kAlignFrames = 32;

/// Frames of one tile.
struct AlignTile {
  double* blanks;          ///< [kAlignPlaces]: best score that ends in each blank, in and out.
  double* labels;          ///< [kAlignPlaces]: best score that ends in each token, in and out.
  std::uint32_t skips;     ///< Bit p: the token of place p may follow the one before it.
  const float* emissions;  ///< [frames, kAlignPlaces]: log-probability of each token.
  const double* blank;     ///< [frames]: log-probability of the blank.
  double* edge;            ///< [frames]: score of the token before the first place, before each
                           ///< frame. Out: that of the last token of this tile.
  std::uint32_t (*choices)[2];  ///< [frames]: bit p of the first: the blank of place p was reached
                                ///< from the token before it; of the second: the token of place p
                                ///< was entered in this frame. May be null.
  std::int64_t frames;
};

/// The places of a tile are permuted: the i-th is at align_place(i, lanes).
struct AlignKernels {
  std::int64_t lanes;
  /// Copy columns [.., kAlignFrames] of the tile's tokens to `emissions` [frames, kAlignPlaces].
  void (*gather)(const float* columns,
                 const std::int32_t* tokens,
                 std::int64_t frames,
                 float* emissions);
  void (*advance)(const AlignTile& tile);
};

/// Lane l of four vectors holds four neighbours, so that only one vector in four is rotated.
constexpr std::int64_t align_place(std::int64_t i, std::int64_t lanes) {
  const std::int64_t rest = i % (4 * lanes);
  return i - rest + rest % 4 * lanes + rest / 4;
}

#define MMS_DECLARE_TABLES(isa)       \
  namespace isa {                     \
  extern const FrameKernels kFrame;   \
  extern const GreedyKernels kGreedy; \
  extern const BeamKernels kBeam;     \
  extern const AlignKernels kAlign;   \
  }

MMS_DECLARE_TABLES(scalar)
MMS_DECLARE_TABLES(avx2)
MMS_DECLARE_TABLES(avx512)
MMS_DECLARE_TABLES(neon)
#undef MMS_DECLARE_TABLES

/// Table of the current instruction set, such as MMS_TABLE(kFrame).
#if defined(MMS_HAS_AVX512)
#define MMS_TABLE(name)                         \
  (current_isa() == Isa::kAvx512 ? avx512::name \
   : current_isa() == Isa::kAvx2 ? avx2::name   \
                                 : scalar::name)
#elif defined(MMS_HAS_NEON)
#define MMS_TABLE(name) (current_isa() == Isa::kNeon ? neon::name : scalar::name)
#else
#define MMS_TABLE(name) (scalar::name)
#endif

}  // namespace mms
