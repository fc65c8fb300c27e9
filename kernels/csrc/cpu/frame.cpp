#include "frame.h"

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "isa/kernels.h"

namespace mms {
namespace {

[[noreturn]] void refuse(std::int64_t frame, const char* what) {
  throw std::invalid_argument("frame " + std::to_string(frame) + " of the logits " + what);
}

}  // namespace

const float* widen(const Scores& scores, std::int64_t frame, float* out) {
  const auto* bytes = static_cast<const std::byte*>(scores.data);
  const std::byte* row = bytes + frame * scores.vocab * size_of(scores.dtype);
  if (scores.dtype == DType::kFloat32) return reinterpret_cast<const float*>(row);
  MMS_TABLE(kFrame).widen(row, scores.dtype, scores.vocab, out);
  return out;
}

Peak find_peak(const float* scores, std::int64_t size) {
  return MMS_TABLE(kFrame).find_peak(scores, size);
}

void check_peak(const Peak& peak, std::int64_t frame) {
  if (peak.has_nan) refuse(frame, "holds NaN");
  if (std::isinf(peak.value)) {
    refuse(frame, peak.value > 0 ? "holds +inf" : "is -inf for every token");
  }
}

void check_vocab(std::int64_t vocab, std::int64_t earlier, std::int32_t blank) {
  if (earlier != 0 && vocab != earlier) {
    throw std::invalid_argument("the logits have " + std::to_string(vocab) +
                                " tokens, those of earlier steps had " + std::to_string(earlier));
  }
  if (blank >= vocab) {
    throw std::invalid_argument("blank is " + std::to_string(blank) + ", the logits have only " +
                                std::to_string(vocab) + " tokens");
  }
}

const float* log_probs_of(const Scores& scores,
                          std::int64_t frame,
                          std::int64_t first_frame,
                          float* out) {
  const float* values = widen(scores, frame, out);
  const Peak peak = find_peak(values, scores.vocab);
  check_peak(peak, first_frame + frame);
  if (scores.kind == ScoreKind::kLogProbs) return values;
  const float sum = MMS_TABLE(kFrame).sum_exp(values, scores.vocab, peak.value);
  const auto offset = static_cast<float>(peak.value + std::log(static_cast<double>(sum)));
  for (std::int64_t token = 0; token < scores.vocab; ++token) out[token] = values[token] - offset;
  return out;
}

Scores row_of(const ScoresBatch& batch, std::int64_t row) {
  const std::int64_t begin = batch.begins == nullptr ? 0 : batch.begins[row];
  const std::int64_t length = batch.lengths[row];
  if (begin < 0 || length < 0 || length > batch.frames - begin) {
    throw std::invalid_argument("length is " + std::to_string(length) + ", the logits have " +
                                std::to_string(batch.frames - begin) + " frames");
  }
  const auto* bytes =
      static_cast<const std::byte*>(batch.data) + begin * batch.vocab * size_of(batch.dtype);
  const std::int64_t row_bytes = batch.frames * batch.vocab * size_of(batch.dtype);
  return {bytes + row * row_bytes, length, batch.vocab, batch.dtype, batch.kind};
}

}  // namespace mms
