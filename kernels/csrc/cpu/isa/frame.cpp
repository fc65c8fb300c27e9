#include "exp.h"
#include "kernels.h"

namespace mms::MMS_ISA {
namespace {

Peak find_peak(const float* scores, std::int64_t size) {
  Floats best[kGroups];
  Flags nan[kGroups] = {};
  for (Floats& group : best) group = Floats{} - __builtin_inff();
  for_each_vector<Float32>(scores, size, [&](int group, Floats values) {
    best[group] = values > best[group] ? values : best[group];
    nan[group] |= is_nan(values);
  });
  Flags any_nan = nan[0];
  for (int group = 1; group < kGroups; ++group) any_nan |= nan[group];
  const float peak = join(best, [](Floats a, Floats b) { return a > b ? a : b; });
  return {peak, bits_of(any_nan) != 0};
}

float sum_exp_of(const float* scores, std::int64_t size, float peak) {
  return sum_exp<Float32>(scores, size, peak);
}

template <typename Type>
void widen_numbers(const typename Type::Number* numbers, std::int64_t size, float* out) {
  std::int64_t i = 0;
  for (; i + kWidth <= size; i += kWidth) store(out + i, Type::load(numbers + i));
  if (i == size) return;
  typename Type::Number rest[kWidth] = {};
  float lanes[kWidth];
  for (std::int64_t lane = 0; i + lane < size; ++lane) rest[lane] = numbers[i + lane];
  store(lanes, Type::load(rest));
  for (std::int64_t lane = 0; i + lane < size; ++lane) out[i + lane] = lanes[lane];
}

void widen(const void* numbers, DType dtype, std::int64_t size, float* out) {
  with_type(dtype, [&](auto type) {
    using Type = decltype(type);
    widen_numbers<Type>(static_cast<const typename Type::Number*>(numbers), size, out);
  });
}

}  // namespace

const FrameKernels kFrame{find_peak, sum_exp_of, widen};

}  // namespace mms::MMS_ISA
