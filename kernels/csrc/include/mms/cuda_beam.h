// Interface of the CUDA prefix beam; see mms/cuda.h and mms/beam.h.
//
// Per stream: mms_beam_begin once; per chunk mms_frames, mms_beam_tokens and mms_beam_step, which
// writes the tokens that are settled; mms_beam_results for the others.
#pragma once

#include <cstdint>

#include "mms/cuda.h"
#include "mms/hotwords.h"
#include "mms/ngram.h"

namespace mms::cuda {

/// Token that may extend hypotheses in a frame.
struct BeamChoice {
  std::int32_t token;
  float log_prob;
};

/// Prefix: its last token and its parent, which has a lower index. The arena holds the hypotheses'
/// prefixes, their ancestors, and garbage until the next compaction.
struct BeamNode {
  std::int32_t parent;   ///< -1 for the root, which is node 0.
  std::int32_t token;    ///< -1 at the start of the utterance.
  std::int32_t sibling;  ///< Another child of the parent; -1 for none.
};

/// Closed span of a token on a best path, in chains shared by hypotheses.
struct BeamSpan {
  std::int64_t start;   ///< First frame.
  std::int64_t end;     ///< Frame after the last.
  std::int32_t parent;  ///< Span of the previous token; -1 for span 0, the root.
  float score;          ///< Mean log-probability over the frames.
  float peak;           ///< Greatest log-probability.
  std::int32_t unused;
};

/// Best single paths of a prefix.
struct BeamPath {
  double blank;              ///< log p of the path ending in a blank.
  double label;              ///< log p of the path ending in the last token.
  double sum;                ///< Sum of the last token's log-probabilities.
  std::int64_t start;        ///< First frame of the last token.
  float peak;                ///< Greatest log-probability of the last token.
  std::int32_t blank_spans;  ///< All tokens, ending in a blank; -1 for no path.
  std::int32_t label_spans;  ///< All but the last, ending in it; -1 for no path.
  std::int32_t unused;
};

/// Scores of a prefix, and the states of the models after it.
struct BeamGain {
  double lm_score;       ///< log10.
  double bonus;          ///< Nats.
  std::uint64_t word;    ///< Hash of the text since the last separator.
  std::int32_t units;    ///< Scored words or tokens.
  std::int32_t letters;  ///< Tokens since the last separator.
  LmState lm;
  HotState hot;
};

/// Hypothesis; an array of them is ordered, best first.
struct BeamEntry {
  double blank;  ///< log p of the paths ending in a blank.
  double label;  ///< log p of the paths ending in the last token.
  double total;  ///< log p of all paths.
  BeamGain gain;
  BeamPath path;
  std::int32_t node;
  std::int32_t parent_node;  ///< -1 for none, or for one that cannot return.
  std::int32_t parent;       ///< Rank of the parent in the beam; -1 if absent.
  std::int32_t last;         ///< Last token; the blank for the empty prefix.
};

struct BeamStream {
  std::int32_t used;     ///< Number of hypotheses.
  std::int32_t nodes;    ///< Nodes in use.
  std::int32_t spans;    ///< Spans in use.
  std::int32_t kept;     ///< Leading nodes after the root whose tokens are settled.
  std::int64_t frame;    ///< Frames read.
  std::int64_t settled;  ///< Settled tokens.
};

/// Language model and hotwords. All zeros for none.
struct BeamScoring {
  HotwordsView hotwords;
  LmView lm;
  WordsView words;                    ///< Words of the language model, if it scores words.
  const LmUnit* units;                ///< [vocab] units, if it scores tokens.
  const std::uint32_t* text_offsets;  ///< [vocab + 1] in `text`.
  const char* text;                   ///< Text of the tokens.
  double lm_weight;
  double word_score;
  double max_gain;  ///< Upper bound of the gain of an extension.
  std::int32_t has_hotwords;
  std::int32_t has_lm;
  std::int32_t separator;     ///< -1 for none.
  std::int32_t scores_words;  ///< Not 0: units are words between separators; 0: tokens.
  std::int32_t longest_word;  ///< Bytes of the longest of `words`.
  std::int32_t unused;
};

/// Tokens in order of time, [rows, capacity] or [rows, nbest, capacity].
struct TokenArrays {
  std::int32_t* ids;
  std::int64_t* starts;  ///< First frame on the best path.
  std::int64_t* ends;    ///< Frame after the last.
  float* scores;         ///< Mean log-probability of the token over its frames.
  float* peaks;          ///< Greatest log-probability.
  std::int64_t capacity;
};

/// The state arrays persist between chunks; all else belongs to this launch. Row r is a chunk of
/// stream `slots[r]`.
struct BeamArgs {
  ScoresBatch scores;
  const Frame* frames;  ///< [rows, scores.frames] of mms_frames.
  BeamChoice* choices;  ///< [rows, scores.frames, choice_count]: mms_beam_tokens to mms_beam_step.
  std::int64_t choice_count;     ///< At least 1; see beam_exact_choices.
  const std::int32_t* slots;     ///< [rows] distinct; -1 skips the row. Null: slot r.
  const BeamScoring* scorings;   ///< [slots]
  BeamStream* streams;           ///< [slots] state, as are the next four
  BeamEntry* entries;            ///< [slots, beam_size]
  BeamNode* nodes;               ///< [slots, arena]
  std::int32_t* heads;           ///< [slots, arena] first child of each node; -1 for none.
  BeamSpan* spans;               ///< [slots, arena]
  std::int32_t* marks;           ///< [rows, arena] workspace
  std::int64_t arena;            ///< At least beam_least_arena.
  TokenArrays settled;           ///< [rows] out; its capacity at least arena + frames of the chunk.
  std::int64_t* settled_counts;  ///< [rows] out
  Status* status;                ///< [rows] out
  std::int64_t lookback;         ///< As BeamOptions::lookback.
  std::int32_t beam_size;        ///< At most 128.
  std::int32_t blank;
  double token_min_logp;  ///< As BeamOptions::token_min_logp.
};

/// Output of mms_beam_results: the tokens after the settled ones.
struct BeamOutput {
  TokenArrays tokens;    ///< [rows, nbest] out
  std::int64_t* counts;  ///< [rows, nbest] out
  std::int64_t* stable;  ///< [rows] out: leading tokens shared by all hypotheses.
  double* log_probs;     ///< [rows, nbest] out: ln P of the labelling.
  double* lm_scores;     ///< [rows, nbest] out: log10.
  double* bonuses;       ///< [rows, nbest] out: nats.
  double* scores;        ///< [rows, nbest] out: ranking score; -inf for no hypothesis.
  std::int32_t nbest;
  std::int32_t finish;  ///< Not 0: include the scores of the end of the stream.
};

constexpr std::int32_t kMaxBeam = 128;

/// The arena is compacted every kBeamTidyFrames frames.
constexpr std::int64_t kBeamTidyFrames = 64;

/// Minimum arena: the prefixes and spans added until the next compaction, and one hypothesis with
/// its open word.
MMS_HD constexpr std::int64_t beam_least_arena(std::int64_t beam_size, std::int64_t longest_word) {
  return kBeamTidyFrames * beam_size + longest_word + 4;
}

/// Threads of a block of mms_beam_step and mms_beam_results.
MMS_HD constexpr std::int32_t beam_threads(std::int32_t beam_size) {
  return (beam_size + 31) / 32 * 32;
}

/// Shared memory of mms_beam_step: bytes of a hypothesis, of its next frame, and of a candidate;
/// candidates in each half, by threads.
constexpr std::int64_t kBeamSlotBytes = 136;
constexpr std::int64_t kBeamStayBytes = 72;
constexpr std::int64_t kBeamCandidateBytes = 16;
constexpr std::int32_t kBeamRounds = 3;

/// Choices of a frame that mms_beam_step keeps in shared memory.
MMS_HD constexpr std::int32_t beam_staged_choices(std::int32_t beam_size) {
  return 2 * beam_size + 2;
}

/// Dynamic shared memory of mms_beam_step, in bytes: at most 43,024 in blocks of beam_threads.
MMS_HD constexpr std::int64_t beam_step_shared_bytes(std::int32_t beam_size, std::int32_t threads) {
  return beam_size * (kBeamSlotBytes + kBeamStayBytes + 4 * 4) +
         2 * kBeamRounds * threads * kBeamCandidateBytes + beam_staged_choices(beam_size) * 8;
}

/// Dynamic shared memory of mms_beam_tokens, in bytes.
MMS_HD constexpr std::int64_t beam_tokens_shared_bytes(std::int64_t choice_count) {
  return 8 * choice_count;
}

/// Number of choices for which a beam without models is exact: of the best 2 * beam_size + 2
/// extensions of a hypothesis, `beam_size` may be in the beam already and one repeats the last
/// token.
MMS_HD constexpr std::int64_t beam_exact_choices(std::int64_t beam_size, std::int64_t vocab) {
  return 2 * beam_size + 2 < vocab - 1 ? 2 * beam_size + 2 : vocab - 1;
}

}  // namespace mms::cuda
