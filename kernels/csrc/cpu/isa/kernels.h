// The inner loops that are compiled once for each instruction set.
//
// Their sources (*.cpp in this folder) include nothing of the standard library that has code: a
// template of it instantiated here with AVX-512 could be the copy that the linker keeps for all.
// Everything in them is in an anonymous namespace but one table for each instruction set.
#pragma once

#include <cstdint>

#include "../frame.h"
#include "beam_kernels.h"
#include "mms/isa.h"

namespace mms {

struct FrameKernels {
  Peak (*find_peak)(const float* scores, std::int64_t size);
  /// The sum of exp(score - peak).
  float (*sum_exp)(const float* scores, std::int64_t size, float peak);
  void (*widen)(const void* numbers, DType dtype, std::int64_t size, float* out);
};

/// The most likely token of a frame.
struct Best {
  float score;         ///< NaN where the frame holds NaN; the rest is then meaningless.
  float sum;           ///< Of exp(x - score) over the frame, for logits and tokens but the blank.
  std::int32_t token;  ///< The lowest of the greatest.
};

struct GreedyKernels {
  /// Fill `best` for `count` frames, beginning with frame `first`.
  void (*find_best)(
      const Scores& scores, std::int64_t first, std::int64_t count, std::int32_t blank, Best* best);
};

// The lattice of an alignment is cut into tiles of so many places by so many frames. A place is a
// blank and the token after it.
constexpr std::int64_t kAlignPlaces = 32;
constexpr std::int64_t kAlignFrames = 32;

/// Some frames of one tile.
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
                                ///< was entered in this frame. Null: not asked for.
  std::int64_t frames;
};

/// Within a tile the places are permuted: that of the i-th is align_place(i, lanes).
struct AlignKernels {
  std::int64_t lanes;
  /// Copy columns [.., kAlignFrames] of the tile's tokens to `emissions` [frames, kAlignPlaces].
  void (*gather)(const float* columns,
                 const std::int32_t* tokens,
                 std::int64_t frames,
                 float* emissions);
  void (*advance)(const AlignTile& tile);
};

/// Lane l of four vectors holds four neighbours, so that but one vector in four has to be rotated.
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

/// The table of the instruction set in use, e.g. MMS_TABLE(kFrame).
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
