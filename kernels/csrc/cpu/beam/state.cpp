#include "state.h"

#include <limits>

namespace mms {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

std::size_t slots_for(std::int64_t beam_size) {
  return static_cast<std::size_t>((beam_size + kBeamLanes - 1) / kBeamLanes * kBeamLanes);
}

}  // namespace

BeamFrame::BeamFrame(std::size_t slots)
    : size(slots),
      sums(2 * slots + 1, kNever),
      label(slots, kNever),
      paths(2 * slots + 1, kNever),
      path_label(slots, kNever),
      peak(slots),
      sum(slots),
      start(slots),
      blank_spans(slots, SpanTree::kNone),
      label_spans(slots, SpanTree::kNone) {}

void BeamFrame::clear(std::size_t slot) {
  sums[slot] = sums[size + slot] = label[slot] = kNever;
  paths[slot] = paths[size + slot] = path_label[slot] = kNever;
  blank_spans[slot] = label_spans[slot] = SpanTree::kNone;
}

void BeamChoices::resize(std::size_t vocab) {
  keys.resize(vocab + 1);
  tokens.resize(vocab);
  log_probs.resize(vocab);
  position.resize(vocab);
}

BeamState::BeamState(const BeamDecoder& decoder)
    : now(slots_for(decoder.options().beam_size)),
      next(now),
      node(now.size, PrefixTree::kNone),
      parent_node(now.size, PrefixTree::kNone),
      parent(now.size, -1),
      parent_sum(now.size, static_cast<std::uint32_t>(2 * now.size)),
      repeats(now.size, 0),
      last(now.size, decoder.options().blank),
      token_gains(now.size, TokenGains{}),
      gain(now.size, std::numeric_limits<double>::quiet_NaN()),
      highest_gain(now.size),
      last_logp(now.size),
      parent_in(now.size),
      parent_path(now.size),
      stay_score(now.size),
      reach(now.size),
      change(now.size),
      changed(now.size),
      stays(now.size) {
  const auto beam = static_cast<std::uint32_t>(decoder.options().beam_size);
  enough.push_back(0);
  for (std::uint32_t n = 1; n <= beam; ++n) enough.push_back((beam + n - 1) / n);
  order = {0};
  used = 1;
  node[0] = tree.root();
  now.sums[0] = now.sums[now.size] = 0.0;
  now.paths[0] = now.paths[now.size] = 0.0;
  now.blank_spans[0] = spans.root();
  const BeamScorer& scorer = decoder.scorer();
  gain[0] = 0.0;
  if (!scorer.is_plain()) {
    scores.begin(scorer, tree.root());
    beam_set_gains(*this, scorer, 0, scores[tree.root()]);
  }
}

void beam_set_gains(BeamState& state,
                    const BeamScorer& scorer,
                    std::size_t slot,
                    const PrefixScore& score) {
  state.gain[slot] = scorer.gain(score);
  state.highest_gain[slot] = state.gain[slot] + scorer.highest_gain(score.hot);
  state.token_gains[slot] = scorer.token_gains(score);
}

}  // namespace mms
