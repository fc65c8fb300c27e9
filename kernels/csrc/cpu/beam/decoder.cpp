#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "../frame.h"
#include "../parallel.h"
#include "mms/beam.h"
#include "state.h"

namespace mms {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

void check_options(const BeamOptions& options) {
  require(options.beam_size >= 1 && options.beam_size <= 65536,
          "beam_size must be at least 1 and at most 65536");
  require(options.blank >= 0, "blank must not be negative");
  require(!(std::isnan(options.token_min_logp) || options.token_min_logp > 0),
          "token_min_logp must be at most 0: it is a natural-log probability");
  require(options.beam_threshold >= 0, "beam_threshold must not be negative");
  require(options.blank_skip > 0 && options.blank_skip <= 1,
          "blank_skip must be a probability greater than 0; 1 skips nothing");
  require(options.lookback >= 0, "lookback must not be negative; 0 drops nothing");
  require(std::isfinite(options.lm_weight) && options.lm_weight >= 0,
          "lm_weight must be a number, not negative");
  require(std::isfinite(options.word_score), "word_score must be a number");
  require(options.separator >= -1, "separator must be a token, or -1 for none");
  require(options.separator != options.blank, "the separator must not be the blank");
}

void check_nbest(std::int64_t nbest) { require(nbest >= 1, "nbest must be at least 1"); }

/// Throw for the first bad frame, before the stream changes.
void check_frames(const Scores& scores, std::int64_t first_frame, float* scratch) {
  Scores raw = scores;
  raw.kind = ScoreKind::kLogProbs;  // skip the normalisation
  for (std::int64_t frame = 0; frame < scores.frames; ++frame) {
    log_probs_of(raw, frame, first_frame, scratch);
  }
}

BeamHypothesis make_hypothesis(const BeamState& state,
                               const BeamScorer& scorer,
                               std::size_t slot,
                               const PrefixScore& models) {
  BeamHypothesis hypothesis{state.settled, state.now.sums[slot], 0.0, 0.0, 0.0};
  beam_append_tokens(state, slot, hypothesis.tokens);
  hypothesis.score = hypothesis.log_prob;
  if (!scorer.is_plain()) {
    hypothesis.lm_score = models.lm_score;
    hypothesis.bonus = models.bonus;
    hypothesis.score += scorer.gain(models);
  }
  return hypothesis;
}

/// Hypothesis at the end of the utterance.
struct Finished {
  double score;
  std::size_t slot;
  PrefixScore score_at_end;
};

std::vector<Finished> finish_all(const BeamState& state, const BeamScorer& scorer) {
  std::vector<Finished> finished;
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    Finished entry{state.now.sums[slot], slot, {}};
    if (!scorer.is_plain()) {
      entry.score_at_end = state.scores.finish(scorer, state.tree, state.node[slot]);
      entry.score += scorer.gain(entry.score_at_end);
    }
    if (entry.score > -std::numeric_limits<double>::infinity()) finished.push_back(entry);
  }
  std::stable_sort(finished.begin(), finished.end(), [](const Finished& a, const Finished& b) {
    return a.score > b.score;
  });
  return finished;
}

}  // namespace

BeamDecoder::BeamDecoder(const BeamOptions& options, BeamModels models) : options_(options) {
  check_options(options);
  scorer_ = std::make_shared<const BeamScorer>(options, std::move(models));
}

BeamDecoder BeamDecoder::with_hotwords(const Hotwords* hotwords) const {
  BeamDecoder decoder = *this;
  decoder.scorer_ = std::make_shared<const BeamScorer>(scorer_->with_hotwords(hotwords));
  return decoder;
}

std::vector<std::vector<BeamHypothesis>> BeamDecoder::decode(const ScoresBatch& batch,
                                                             std::int64_t nbest,
                                                             std::int64_t threads) const {
  check_nbest(nbest);
  std::vector<std::vector<BeamHypothesis>> results(static_cast<std::size_t>(batch.rows));
  for_each_row(batch.rows, threads, [&](std::int64_t row) {
    BeamStream stream(*this);
    stream.step(row_of(batch, row));
    results[static_cast<std::size_t>(row)] = stream.results(nbest);
  });
  return results;
}

BeamStream::BeamStream(BeamDecoder decoder)
    : decoder_(std::move(decoder)), state_(std::make_unique<BeamState>(decoder_)) {}

BeamStream::BeamStream(const BeamStream& other)
    : decoder_(other.decoder_), state_(std::make_unique<BeamState>(*other.state_)) {}

BeamStream::BeamStream(BeamStream&&) noexcept = default;
BeamStream& BeamStream::operator=(BeamStream&&) noexcept = default;
BeamStream::~BeamStream() = default;

void BeamStream::step(const Scores& scores) {
  BeamState& state = *state_;
  const BeamScorer& scorer = decoder_.scorer();
  check_vocab(scores.vocab, state.vocab, decoder_.options().blank);
  scorer.check_vocab(scores.vocab);
  std::vector<float>& log_probs = state.log_probs;
  log_probs.resize(static_cast<std::size_t>(scores.vocab));
  check_frames(scores, state.frame, log_probs.data());
  state.vocab = scores.vocab;
  state.choices.resize(static_cast<std::size_t>(scores.vocab));
  // Checked frames that need no conversion are used in place.
  const bool in_place = scores.kind == ScoreKind::kLogProbs && scores.dtype == DType::kFloat32;
  for (std::int64_t frame = 0; frame < scores.frames; ++frame) {
    const float* row = in_place ? static_cast<const float*>(scores.data) + frame * scores.vocab
                                : log_probs_of(scores, frame, 0, log_probs.data());
    beam_advance(state, scorer, row);
  }
}

BeamPartial BeamStream::partial(std::int64_t nbest) const {
  check_nbest(nbest);
  const BeamState& state = *state_;
  BeamPartial partial{{}, beam_stable(state)};
  for (const std::int32_t slot_id : state.order) {
    if (std::ssize(partial.hypotheses) == nbest) break;
    const auto slot = static_cast<std::size_t>(slot_id);
    const BeamScorer& scorer = decoder_.scorer();
    const PrefixScore models = scorer.is_plain() ? PrefixScore{} : state.scores[state.node[slot]];
    if (std::isinf(state.now.sums[slot])) continue;
    partial.hypotheses.push_back(make_hypothesis(state, scorer, slot, models));
  }
  return partial;
}

std::vector<BeamHypothesis> BeamStream::results(std::int64_t nbest) const {
  check_nbest(nbest);
  std::vector<BeamHypothesis> results;
  for (const Finished& entry : finish_all(*state_, decoder_.scorer())) {
    if (std::ssize(results) == nbest) break;
    results.push_back(make_hypothesis(*state_, decoder_.scorer(), entry.slot, entry.score_at_end));
  }
  return results;
}

TimedTokens BeamStream::take_stable() {
  beam_settle(*state_, decoder_.scorer());
  return std::exchange(state_->settled, {});
}

void BeamStream::reset() { state_ = std::make_unique<BeamState>(decoder_); }

std::int64_t BeamStream::frames() const { return state_->frame; }

std::int64_t BeamStream::live() const { return state_->tree.live() + state_->spans.live(); }

}  // namespace mms
