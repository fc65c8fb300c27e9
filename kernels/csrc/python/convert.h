// Arrays in and out, and the parts of the module.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace nb = nanobind;
using nb::literals::operator""_a;

template <typename Scalar, std::size_t Rank>
using Input = nb::ndarray<const Scalar, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
template <typename Scalar>
using Vector = nb::ndarray<nb::numpy, Scalar, nb::ndim<1>>;

template <typename Scalar>
Vector<Scalar> to_numpy(std::vector<Scalar> values) {
  auto* owned = new std::vector<Scalar>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<Scalar>*>(p); });
  return Vector<Scalar>(owned->data(), {owned->size()}, owner);
}

void bind_isa(nb::module_& m);
void bind_align(nb::module_& m);
void bind_greedy(nb::module_& m);
