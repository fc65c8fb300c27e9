#include "mms/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(MMS_HAS_AVX2)
#include <cpuid.h>
#endif

namespace mms {
namespace {

#if defined(MMS_HAS_AVX2)
// Clang's __builtin_cpu_supports knows "f16c" only since release 15.
bool has_f16c() {
  unsigned int a = 0;
  unsigned int b = 0;
  unsigned int c = 0;
  unsigned int d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

bool machine_has(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return true;
#if defined(MMS_HAS_AVX2)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && has_f16c();
#endif
#if defined(MMS_HAS_AVX512)
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
#if defined(MMS_HAS_NEON)
    case Isa::kNeon:
      return true;  // part of every 64-bit ARM
#endif
    default:
      return false;
  }
}

Isa checked(Isa isa) {
  const auto& usable = usable_isas();
  if (std::find(usable.begin(), usable.end(), isa) == usable.end()) {
    std::string names;
    for (const Isa other : usable)
      names += (names.empty() ? "" : ", ") + std::string(name_of(other));
    throw std::invalid_argument(std::string("this machine or build has no ") + name_of(isa) +
                                " kernels, it has: " + names);
  }
  return isa;
}

Isa first_choice() {
  const char* wanted = std::getenv("MMS_KERNELS_ISA");
  if (wanted == nullptr || *wanted == '\0') return usable_isas().back();
  try {
    return checked(isa_named(wanted));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("MMS_KERNELS_ISA: ") + error.what());
  }
}

std::atomic<Isa>& chosen() {
  static std::atomic<Isa> isa{first_choice()};
  return isa;
}

}  // namespace

const std::vector<Isa>& usable_isas() {
  static const std::vector<Isa> usable = [] {
    std::vector<Isa> found;
    for (const Isa isa : {Isa::kScalar, Isa::kNeon, Isa::kAvx2, Isa::kAvx512}) {
      if (machine_has(isa)) found.push_back(isa);
    }
    return found;
  }();
  return usable;
}

Isa current_isa() { return chosen().load(std::memory_order_relaxed); }

void use_isa(Isa isa) { chosen().store(checked(isa), std::memory_order_relaxed); }

const char* name_of(Isa isa) {
  static constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "neon"};
  return kNames[static_cast<std::size_t>(isa)];
}

Isa isa_named(const std::string& name) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    if (name == name_of(isa)) return isa;
  }
  throw std::invalid_argument("there are no '" + name +
                              "' kernels, the names are scalar, avx2, avx512 and neon");
}

}  // namespace mms
