// Scores of prefixes by language model and hotwords, as in cpu/beam/score.cpp.
#pragma once

#include "../scores.cuh"
#include "mms/cuda_beam.h"

namespace mms::cuda {

// FNV-1a, the hash of the language model's word table.
constexpr std::uint64_t kHashBasis = 0xCBF29CE484222325U;
constexpr std::uint64_t kHashPrime = 0x100000001B3U;

__device__ inline double weigh(const BeamScoring& scoring, const BeamGain& gain) {
  return scoring.lm_weight * gain.lm_score + scoring.word_score * static_cast<double>(gain.units) +
         gain.bonus;
}

__device__ inline BeamGain first_gain(const BeamScoring& scoring) {
  BeamGain gain{0.0, 0.0, kHashBasis, 0, 0, 0, 0};
  if (scoring.has_lm != 0) gain.lm = scoring.lm.start;
  if (scoring.has_hotwords != 0) gain.hot = scoring.hotwords.start;
  return gain;
}

/// True if the last `letters` tokens up to `node` spell the word `unit`.
__device__ inline bool is_written(const BeamScoring& scoring,
                                  const Checked<BeamNode>& nodes,
                                  std::int32_t node,
                                  std::int32_t letters,
                                  LmUnit unit) {
  const std::uint64_t begin = scoring.words.offsets[unit];
  std::uint64_t end = scoring.words.offsets[unit + 1];
  for (; letters > 0; --letters) {
    const BeamNode prefix = nodes[node];
    const std::uint32_t first = scoring.text_offsets[prefix.token];
    for (std::uint32_t i = scoring.text_offsets[prefix.token + 1]; i > first; --i) {
      if (end == begin || scoring.words.text[--end] != scoring.text[i - 1]) return false;
    }
    node = prefix.parent;
  }
  return end == begin;
}

/// Unit of the text since the last separator.
__device__ inline LmUnit find_word(const BeamScoring& scoring,
                                   const Checked<BeamNode>& nodes,
                                   std::int32_t node,
                                   const BeamGain& gain) {
  // Tokens have at least one byte, so longer words are unknown; their start may be settled.
  if (gain.letters > scoring.longest_word) return scoring.lm.unknown;
  const std::uint64_t mask = scoring.words.slot_count - 1;
  for (std::uint64_t slot = gain.word & mask; scoring.words.slots[slot] != 0;
       slot = (slot + 1) & mask) {
    const LmUnit unit = scoring.words.slots[slot] - 1;
    if (is_written(scoring, nodes, node, gain.letters, unit)) return unit;
  }
  return scoring.lm.unknown;
}

__device__ inline void add_unit(const BeamScoring& scoring, LmUnit unit, BeamGain& gain) {
  const LmStep step = scoring.lm.score(gain.lm, unit);
  gain.lm = step.state;
  gain.lm_score += static_cast<double>(step.score);
}

/// Score the word that ends at `node`, if any.
__device__ inline void end_word(const BeamScoring& scoring,
                                const Checked<BeamNode>& nodes,
                                std::int32_t node,
                                BeamGain& gain) {
  if (gain.letters == 0) return;  // two separators in a row make no empty word
  if (scoring.has_lm != 0) add_unit(scoring, find_word(scoring, nodes, node, gain), gain);
  ++gain.units;
  gain.letters = 0;
  gain.word = kHashBasis;
}

/// Gain of the prefix at `node` extended by `token`.
__device__ inline BeamGain extend(const BeamScoring& scoring,
                                  const Checked<BeamNode>& nodes,
                                  std::int32_t node,
                                  BeamGain gain,
                                  std::int32_t token) {
  if (scoring.has_hotwords != 0) {
    const HotStep step = scoring.hotwords.step(gain.hot, token);
    gain.hot = step.state;
    gain.bonus += static_cast<double>(step.bonus);
  }
  if (scoring.scores_words == 0) {
    ++gain.units;
    if (scoring.has_lm != 0) add_unit(scoring, scoring.units[token], gain);
  } else if (token == scoring.separator) {
    end_word(scoring, nodes, node, gain);
  } else {
    ++gain.letters;
    if (scoring.has_lm == 0) return gain;
    for (std::uint32_t i = scoring.text_offsets[token]; i < scoring.text_offsets[token + 1]; ++i) {
      gain.word = (gain.word ^ static_cast<unsigned char>(scoring.text[i])) * kHashPrime;
    }
  }
  return gain;
}

/// Gain including the end of the stream.
__device__ inline BeamGain finish(const BeamScoring& scoring,
                                  const Checked<BeamNode>& nodes,
                                  std::int32_t node,
                                  BeamGain gain) {
  if (scoring.has_hotwords != 0) {
    gain.bonus += static_cast<double>(scoring.hotwords.finish(gain.hot));
  }
  if (scoring.scores_words != 0) end_word(scoring, nodes, node, gain);
  if (scoring.has_lm != 0) {
    gain.lm_score += static_cast<double>(scoring.lm.finish(gain.lm));
  }
  return gain;
}

}  // namespace mms::cuda
