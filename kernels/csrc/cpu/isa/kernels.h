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
  std::int64_t (*find_first)(const float* scores, std::int64_t size, float value);
  float (*sum_exp)(const float* scores, std::int64_t size, float peak);
};

#define MMS_DECLARE_TABLES(isa)     \
  namespace isa {                   \
  extern const FrameKernels kFrame; \
  extern const BeamKernels kBeam;   \
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
