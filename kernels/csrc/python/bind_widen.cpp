#include "convert.h"
#include "mms/widen.h"

namespace {

using Output = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void widen(const Input<std::uint16_t, 1>& numbers, Output& out, bool bfloat16, int threads) {
  if (numbers.size() != out.size()) throw nb::value_error("numbers and out differ in size");
  const auto size = static_cast<std::int64_t>(numbers.size());
  nb::gil_scoped_release release;
  mms::widen_all(numbers.data(),
                 bfloat16 ? mms::DType::kBFloat16 : mms::DType::kFloat16,
                 size,
                 out.data(),
                 threads);
}

}  // namespace

void bind_widen(nb::module_& m) {
  m.def("widen",
        &widen,
        "numbers"_a.noconvert(),
        "out"_a.noconvert(),
        "bfloat16"_a,
        "threads"_a,
        "Write the bits of half-precision numbers as float32.");
}
