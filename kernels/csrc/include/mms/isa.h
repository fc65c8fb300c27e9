// Instruction set of the kernels. All give the same bits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mms {

enum class Isa : std::uint8_t { kScalar, kAvx2, kAvx512, kNeon };

/// Instruction sets of this build that this machine can run, slowest first.
const std::vector<Isa>& usable_isas();

/// Current instruction set: the fastest usable one, or the one named by the environment variable
/// MMS_KERNELS_ISA (scalar, avx2, avx512, neon).
///
/// Throws std::invalid_argument if the variable names an unusable one.
Isa current_isa();

/// Select an instruction set. Throws std::invalid_argument if it is unusable.
void use_isa(Isa isa);

const char* name_of(Isa isa);
Isa isa_named(const std::string& name);

}  // namespace mms
