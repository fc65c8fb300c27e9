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

#define MMS_DECLARE_TABLES(isa)       \
  namespace isa {                     \
  extern const FrameKernels kFrame;   \
  extern const GreedyKernels kGreedy; \
  extern const BeamKernels kBeam;     \
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
