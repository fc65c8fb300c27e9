// Array conversions, and the parts of the module.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "mms/scores.h"
#include "mms/tokens.h"

namespace nb = nanobind;
using nb::literals::operator""_a;

template <typename Scalar, std::size_t Rank>
using Input = nb::ndarray<const Scalar, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
/// Scores: float32, float16, or bfloat16 as uint16, which the buffer protocol cannot name.
template <std::size_t Rank>
using ScoresInput = nb::ndarray<nb::ro, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;

template <typename Scalar>
using Vector = nb::ndarray<nb::numpy, Scalar, nb::ndim<1>>;

template <typename Scalar>
Vector<Scalar> to_numpy(std::vector<Scalar> values) {
  auto* owned = new std::vector<Scalar>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<Scalar>*>(p); });
  return Vector<Scalar>(owned->data(), {owned->size()}, owner);
}

/// Ids, starts, ends, scores and peaks of tokens.
using TokenArrays = nb::typed<nb::tuple,
                              Vector<std::int32_t>,
                              Vector<std::int64_t>,
                              Vector<std::int64_t>,
                              Vector<float>,
                              Vector<float>>;
TokenArrays to_arrays(mms::TimedTokens tokens);

/// "logits" or "log_probs"; throws std::invalid_argument for anything else.
mms::ScoreKind kind_named(const std::string& name);

/// View of an array, valid as long as the array. Throws std::invalid_argument for another dtype, or
/// `lengths` with another number of rows.
mms::Scores view_of(const ScoresInput<2>& scores, mms::ScoreKind kind);
mms::ScoresBatch view_of(const ScoresInput<3>& scores,
                         const Input<std::int64_t, 1>& lengths,
                         mms::ScoreKind kind);

void bind_isa(nb::module_& m);
void bind_align(nb::module_& m);
void bind_greedy(nb::module_& m);
void bind_beam(nb::module_& m);
void bind_hotwords(nb::module_& m);
void bind_lexicon(nb::module_& m);
void bind_lm(nb::module_& m);
void bind_widen(nb::module_& m);
void bind_device(nb::module_& m);
