// Which instruction set the kernels use. Each gives the same bits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mms {

enum class Isa : std::uint8_t { kScalar, kAvx2, kAvx512, kNeon };

/// Those that were compiled in and that this machine can run, the slowest first.
const std::vector<Isa>& usable_isas();

/// The one in use: the fastest usable one, or the one that the environment variable
/// MMS_KERNELS_ISA names (scalar, avx2, avx512, neon).
///
/// Throws std::invalid_argument where the variable names one that cannot be used.
Isa current_isa();

/// Use another one from now on. Throws std::invalid_argument where it cannot be used.
void use_isa(Isa isa);

const char* name_of(Isa isa);
Isa isa_named(const std::string& name);

}  // namespace mms
