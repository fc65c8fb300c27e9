// Input of the decoders: the acoustic model's output in its own type.
#pragma once

#include <cstdint>

namespace mms {

enum class DType : std::uint8_t { kFloat32, kFloat16, kBFloat16 };

/// Kind of scores; stated by the caller, never guessed.
enum class ScoreKind : std::uint8_t {
  kLogits,    ///< Normalised by a log-softmax over each frame.
  kLogProbs,  ///< Natural-log probabilities, used unchanged.
};

/// One utterance, contiguous [frames, vocab]. Not owned.
struct Scores {
  const void* data;
  std::int64_t frames;
  std::int64_t vocab;
  DType dtype = DType::kFloat32;
  ScoreKind kind = ScoreKind::kLogits;
};

/// A batch, contiguous [rows, frames, vocab]. Not owned.
struct ScoresBatch {
  const void* data;
  std::int64_t rows;
  std::int64_t frames;
  std::int64_t vocab;
  const std::int64_t* lengths;  ///< Valid frames of each row, [rows].
  DType dtype = DType::kFloat32;
  ScoreKind kind = ScoreKind::kLogits;
  const std::int64_t* begins = nullptr;  ///< First valid frame of each row, [rows]; null for 0.
};

constexpr std::int64_t size_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

/// Scores of one row. Throws std::invalid_argument if its frames are not within the batch.
Scores row_of(const ScoresBatch& batch, std::int64_t row);

}  // namespace mms
