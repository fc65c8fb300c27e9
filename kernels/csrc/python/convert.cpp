#include "convert.h"

#include <stdexcept>

namespace {

template <typename Array>
mms::DType dtype_of(const Array& scores) {
  const nb::dlpack::dtype dtype = scores.dtype();
  if (dtype == nb::dtype<float>()) return mms::DType::kFloat32;
  if (dtype == nb::dtype<std::uint16_t>()) return mms::DType::kBFloat16;
  const auto code = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);
  if (dtype.code == code && dtype.bits == 16) return mms::DType::kFloat16;
  throw std::invalid_argument("the scores must be float32, float16 or bfloat16 as uint16");
}

template <typename Array>
std::int64_t size_of(const Array& array, std::size_t axis) {
  return static_cast<std::int64_t>(array.shape(axis));
}

}  // namespace

TokenArrays to_arrays(mms::TimedTokens tokens) {
  return TokenArrays(nb::make_tuple(to_numpy(std::move(tokens.ids)),
                                    to_numpy(std::move(tokens.starts)),
                                    to_numpy(std::move(tokens.ends)),
                                    to_numpy(std::move(tokens.scores)),
                                    to_numpy(std::move(tokens.peaks))));
}

mms::ScoreKind kind_named(const std::string& name) {
  if (name == "logits") return mms::ScoreKind::kLogits;
  if (name == "log_probs") return mms::ScoreKind::kLogProbs;
  throw std::invalid_argument("kind is '" + name + "', it must be 'logits' or 'log_probs'");
}

mms::Scores view_of(const ScoresInput<2>& scores, mms::ScoreKind kind) {
  return {scores.data(), size_of(scores, 0), size_of(scores, 1), dtype_of(scores), kind};
}

mms::ScoresBatch view_of(const ScoresInput<3>& scores,
                         const Input<std::int64_t, 1>& lengths,
                         mms::ScoreKind kind) {
  if (lengths.shape(0) != scores.shape(0)) {
    throw std::invalid_argument("scores and lengths have different numbers of rows");
  }
  return {scores.data(),
          size_of(scores, 0),
          size_of(scores, 1),
          size_of(scores, 2),
          lengths.data(),
          dtype_of(scores),
          kind};
}
