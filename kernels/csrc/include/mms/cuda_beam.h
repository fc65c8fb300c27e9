// What the CUDA kernels of the prefix beam take and leave; see mms/cuda.h and mms/beam.h.
//
// For each stream: mms_beam_begin once; for each chunk mms_frames, mms_beam_tokens and
// mms_beam_step, and mms_beam_compact where the arena might not have room for another
// beam_size * frames prefixes; mms_beam_results whenever something is to be seen.
#pragma once

#include <cstdint>

#include "mms/cuda.h"
#include "mms/hotwords.h"
#include "mms/ngram.h"

namespace mms::cuda {

/// A token that may extend hypotheses in a frame.
struct BeamChoice {
  std::int32_t token;
  float log_prob;
};

/// A prefix: its last token, and the one before it. The arena holds those of the hypotheses, all
/// that lead to them, and what mms_beam_compact has not yet cleared away.
struct BeamNode {
  std::int32_t parent;   ///< -1 for the root.
  std::int32_t token;    ///< -1 for the root.
  std::int32_t sibling;  ///< Another child of the parent; -1 for none.
};

/// What language model and hotwords have said about a prefix, and where they stand after it.
struct BeamGain {
  double lm_score;       ///< log10.
  double bonus;          ///< Nats.
  std::uint64_t word;    ///< Hash of the text since the last separator.
  std::int32_t units;    ///< Words or tokens that count.
  std::int32_t letters;  ///< Tokens since the last separator.
  LmState lm;
  HotState hot;
};

/// A hypothesis. They are kept in order, the best first.
struct BeamEntry {
  double blank;  ///< log p of the paths that end in a blank,
  double label;  ///< in the last token,
  double total;  ///< in either.
  BeamGain gain;
  std::int32_t node;
  std::int32_t parent_node;  ///< -1 for none, or for one that can come back no more.
  std::int32_t parent;       ///< Its rank, where the parent is a hypothesis too; else -1.
  std::int32_t last;         ///< Last token; the blank for the empty prefix.
};

struct BeamStream {
  std::int32_t used;     ///< Hypotheses.
  std::int32_t nodes;    ///< Of the arena in use; node 0 is the root.
  std::int64_t frame;    ///< Frames read.
  std::int64_t settled;  ///< Tokens before the root, handed over by mms_beam_compact.
};

/// Language model and hotwords, flat. All zeros for none of it.
struct BeamScoring {
  HotwordsView hotwords;
  LmView lm;
  WordsView words;                    ///< Of the language model, where it scores words.
  const LmUnit* units;                ///< [vocab] of each token, where it scores tokens.
  const std::uint32_t* text_offsets;  ///< [vocab + 1] in `text`.
  const char* text;                   ///< How the tokens are written.
  double lm_weight;
  double word_score;
  double max_gain;  ///< No extension adds more to a score.
  std::int32_t has_hotwords;
  std::int32_t has_lm;
  std::int32_t separator;     ///< -1 for none.
  std::int32_t scores_words;  ///< Not 0: words between separators are the units, else tokens.
};

struct BeamArgs {
  ScoresBatch scores;
  const Frame* frames;  ///< [rows, scores.frames] of mms_frames.
  BeamChoice* choices;  ///< [rows, scores.frames, choice_count]: mms_beam_tokens to mms_beam_step.
  std::int64_t choice_count;  ///< At least 1; see beam_exact_choices.
  BeamStream* streams;        ///< [rows], on the device from chunk to chunk, as are the next three
  BeamEntry* entries;         ///< [rows, beam_size]
  BeamNode* nodes;            ///< [rows, arena]
  std::int32_t* heads;        ///< [rows, arena] a child of each node; -1 for none.
  std::int32_t* marks;        ///< [rows, arena] workspace of mms_beam_compact.
  std::int64_t arena;         ///< At least 1 + beam_size * frames of a chunk.
  Status* status;             ///< [rows] out
  std::int32_t beam_size;     ///< At most 128.
  std::int32_t blank;
  double token_min_logp;  ///< A less likely token makes no new hypothesis. Exact at -inf.
  BeamScoring scoring;
};

/// Of mms_beam_results and mms_beam_compact.
struct BeamOutput {
  std::int32_t* tokens;  ///< [rows, nbest, capacity] out; those of mms_beam_compact come before.
  std::int64_t* counts;  ///< [rows, nbest] out
  double* log_probs;     ///< [rows, nbest] out: of the labelling.
  double* lm_scores;     ///< [rows, nbest] out: log10.
  double* bonuses;       ///< [rows, nbest] out: nats.
  double* scores;        ///< [rows, nbest] out: what hypotheses are ranked by; -inf for no more.
  std::int64_t capacity;
  std::int32_t nbest;
  std::int32_t finish;  ///< Not 0: with what the end of the stream adds.
};

constexpr std::int32_t kMaxBeam = 128;

/// Threads of a block of mms_beam_step, mms_beam_results and mms_beam_compact.
MMS_HD constexpr std::int32_t beam_threads(std::int32_t beam_size) {
  return (beam_size + 31) / 32 * 32;
}

/// Dynamic shared memory of mms_beam_tokens, in bytes.
MMS_HD constexpr std::int64_t beam_tokens_shared_bytes(std::int64_t choice_count) {
  return 8 * choice_count;
}

/// Choices for which a beam without models, thresholds and scores of words is exact: of any
/// hypothesis's extensions fewer than so many are better than the worst that can be needed, since
/// `beam_size` of them may be in the beam already and one may repeat the last token.
MMS_HD constexpr std::int64_t beam_exact_choices(std::int64_t beam_size, std::int64_t vocab) {
  return 2 * beam_size + 2 < vocab - 1 ? 2 * beam_size + 2 : vocab - 1;
}

}  // namespace mms::cuda
