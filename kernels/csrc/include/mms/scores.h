// What a decoder reads: the acoustic model's output, in the type in which the model wrote it.
#pragma once

#include <cstdint>

namespace mms {

enum class DType : std::uint8_t { kFloat32, kFloat16, kBFloat16 };

/// What the numbers are. It is said by the caller, never guessed.
enum class ScoreKind : std::uint8_t {
  kLogits,    ///< Need normalising: log_softmax is taken over each frame.
  kLogProbs,  ///< Natural-log probabilities, taken as they are.
};

/// One utterance: `frames` rows of `vocab` numbers without gaps. Not owned.
struct Scores {
  const void* data;
  std::int64_t frames;
  std::int64_t vocab;
  DType dtype = DType::kFloat32;
  ScoreKind kind = ScoreKind::kLogits;
};

/// A batch: `rows` blocks of `frames * vocab` numbers without gaps. Not owned.
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

/// The scores of one row; throws std::invalid_argument where its frames are not all in the batch.
Scores row_of(const ScoresBatch& batch, std::int64_t row);

}  // namespace mms
