// What the CUDA kernels of the prefix beam take and leave; see mms/cuda.h and mms/beam.h.
//
// For each stream: mms_beam_begin once; for each chunk mms_frames, mms_beam_tokens and
// mms_beam_step, which hands over the tokens that can no longer change; mms_beam_results whenever
// the others are to be seen.
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
/// that lead to them, and what has not yet been cleared away. A parent has the lower index.
struct BeamNode {
  std::int32_t parent;   ///< -1 for the root, which is node 0.
  std::int32_t token;    ///< -1 at the start of the utterance.
  std::int32_t sibling;  ///< Another child of the parent; -1 for none.
};

/// When a token was said on a best path, once that is over: chains that hypotheses share.
struct BeamSpan {
  std::int64_t start;   ///< First frame.
  std::int64_t end;     ///< Frame after the last.
  std::int32_t parent;  ///< Of the token before; -1 for the root, span 0, before the first token.
  float score;          ///< Mean log-probability over the frames.
  float peak;           ///< The greatest.
  std::int32_t unused;
};

/// The best single paths of a prefix.
struct BeamPath {
  double blank;              ///< log p of the one that ends in a blank,
  double label;              ///< in the last token: on that one the token
  double sum;                ///< has this sum of log-probabilities,
  std::int64_t start;        ///< this first frame,
  float peak;                ///< and this greatest log-probability.
  std::int32_t blank_spans;  ///< All tokens of the one; -1 where there is no such path.
  std::int32_t label_spans;  ///< All but the last of the other; -1 where there is none.
  std::int32_t unused;
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
  BeamPath path;
  std::int32_t node;
  std::int32_t parent_node;  ///< -1 for none, or for one that can come back no more.
  std::int32_t parent;       ///< Its rank, where the parent is a hypothesis too; else -1.
  std::int32_t last;         ///< Last token; the blank for the empty prefix.
};

struct BeamStream {
  std::int32_t used;     ///< Hypotheses.
  std::int32_t nodes;    ///< In use.
  std::int32_t spans;    ///< In use.
  std::int32_t kept;     ///< Leading nodes after the root whose tokens have been handed over.
  std::int64_t frame;    ///< Frames read.
  std::int64_t settled;  ///< Tokens handed over.
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
  std::int32_t longest_word;  ///< Bytes of the longest in `words`.
  std::int32_t unused;
};

/// Tokens in order of time, [rows, capacity] or [rows, nbest, capacity].
struct TokenArrays {
  std::int32_t* ids;
  std::int64_t* starts;  ///< First frame on the best path.
  std::int64_t* ends;    ///< Frame after the last.
  float* scores;         ///< Mean log-probability of the token over its frames.
  float* peaks;          ///< The greatest.
  std::int64_t capacity;
};

/// State is the stream's, kept from chunk to chunk; the rest is of this launch. Row r is a chunk of
/// stream `slots[r]`.
struct BeamArgs {
  ScoresBatch scores;
  const Frame* frames;  ///< [rows, scores.frames] of mms_frames.
  BeamChoice* choices;  ///< [rows, scores.frames, choice_count]: mms_beam_tokens to mms_beam_step.
  std::int64_t choice_count;     ///< At least 1; see beam_exact_choices.
  const std::int32_t* slots;     ///< [rows] no two the same; -1: leave the row out. Null: slot r.
  const BeamScoring* scorings;   ///< [slots]
  BeamStream* streams;           ///< [slots] state, as are the next four
  BeamEntry* entries;            ///< [slots, beam_size]
  BeamNode* nodes;               ///< [slots, arena]
  std::int32_t* heads;           ///< [slots, arena] a child of each node; -1 for none.
  BeamSpan* spans;               ///< [slots, arena]
  std::int32_t* marks;           ///< [rows, arena] workspace
  std::int64_t arena;            ///< At least beam_least_arena.
  TokenArrays settled;           ///< [rows] out; its capacity at least arena + frames of the chunk.
  std::int64_t* settled_counts;  ///< [rows] out
  Status* status;                ///< [rows] out
  std::int64_t lookback;         ///< As BeamOptions::lookback.
  std::int32_t beam_size;        ///< At most 128.
  std::int32_t blank;
  double token_min_logp;  ///< A less likely token makes no new hypothesis. Exact at -inf.
};

/// Of mms_beam_results: what comes after the tokens that have been handed over.
struct BeamOutput {
  TokenArrays tokens;    ///< [rows, nbest] out
  std::int64_t* counts;  ///< [rows, nbest] out
  std::int64_t* stable;  ///< [rows] out: leading ones that all hypotheses share.
  double* log_probs;     ///< [rows, nbest] out: of the labelling.
  double* lm_scores;     ///< [rows, nbest] out: log10.
  double* bonuses;       ///< [rows, nbest] out: nats.
  double* scores;        ///< [rows, nbest] out: what hypotheses are ranked by; -inf for no more.
  std::int32_t nbest;
  std::int32_t finish;  ///< Not 0: with what the end of the stream adds.
};

constexpr std::int32_t kMaxBeam = 128;

/// At multiples of so many frames memory is looked after.
constexpr std::int64_t kBeamTidyFrames = 64;

/// Prefixes and spans for which there must be room: those that are added until memory is looked
/// after, and one hypothesis with its open word.
MMS_HD constexpr std::int64_t beam_least_arena(std::int64_t beam_size, std::int64_t longest_word) {
  return kBeamTidyFrames * beam_size + longest_word + 4;
}

/// Threads of a block of mms_beam_step and mms_beam_results.
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
