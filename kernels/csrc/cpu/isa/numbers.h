// Score types read as float32, exactly.
#pragma once

#include "lanes.h"
#include "mms/scores.h"

namespace mms::MMS_ISA {
namespace {

struct Float32 {
  using Number = float;
  static constexpr Number kLowest = -__builtin_inff();
  static Floats load(const Number* numbers) { return load_bits<Floats>(numbers); }
};

struct BFloat16 {
  using Number = std::uint16_t;
  static constexpr Number kLowest = 0xFF80;
  static Floats load(const Number* numbers) {
    const Ints wide = __builtin_convertvector(load_bits<Shorts>(numbers), Ints);
    return __builtin_bit_cast(Floats, wide << 16);
  }
};

struct Float16 {
  using Number = std::uint16_t;
  static constexpr Number kLowest = 0xFC00;
  static Floats load(const Number* numbers) {
#if MMS_VECTOR_BYTES == 64
    // Masked form with all lanes: the other one makes GCC 12 warn of its own header.
    return _mm512_maskz_cvtph_ps(0xFFFF, load_bits<__m256i>(numbers));
#elif MMS_VECTOR_BYTES == 32
    return _mm256_cvtph_ps(load_bits<__m128i>(numbers));
#else
    const Ints bits = __builtin_convertvector(load_bits<Shorts>(numbers), Ints);
    const Ints sign = (bits & 0x8000) << 16;
    const Ints size = (bits & 0x7FFF) << 13;
    constexpr std::int32_t kOne = 1 << 23;  // of the float32 exponent
    // Subnormals have no leading one: it is added, and subtracted again.
    const Floats tiny = __builtin_bit_cast(Floats, size + 113 * kOne) - 0x1p-14F;
    const Ints finite = size + 112 * kOne;
    const Ints special = size + 224 * kOne;  // inf and NaN keep all ones in the exponent
    const Ints normal = (bits & 0x7C00) == 0x7C00 ? special : finite;
    const Ints wide = (bits & 0x7C00) == 0 ? __builtin_bit_cast(Ints, tiny) : normal;
    return __builtin_bit_cast(Floats, wide | sign);
#endif
  }
};

/// Call visit(group, vector) for all scores, each once; missing lanes are -inf.
template <typename Type, typename Visit>
inline void for_each_vector(const typename Type::Number* numbers,
                            std::int64_t size,
                            const Visit& visit) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int group = 0; group < kGroups; ++group) {
      visit(group, Type::load(numbers + i + group * kWidth));
    }
  }
  if (i == size) return;
  typename Type::Number filled[kLanes];
  const typename Type::Number* last = filled;
  if (size >= kLanes) {
    last = numbers + size - kLanes;
  } else {
    for (std::int64_t k = 0; k < kLanes; ++k) filled[k] = k < size ? numbers[k] : Type::kLowest;
  }
  const auto known = static_cast<std::int32_t>(size >= kLanes ? i - (size - kLanes) : 0);
  for (int group = 0; group < kGroups; ++group) {
    const Ints lane = lane_numbers() + group * kWidth;
    const Floats values = Type::load(last + group * kWidth);
    visit(group, lane < known ? Floats{} - __builtin_inff() : values);
  }
}

/// Call visit(Type{}) with the type of `dtype`.
template <typename Visit>
inline auto with_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat16:
      return visit(Float16{});
    case DType::kBFloat16:
      return visit(BFloat16{});
    default:
      return visit(Float32{});
  }
}

}  // namespace
}  // namespace mms::MMS_ISA
