#include <utility>

#include "state.h"

namespace mms {

Histories::Histories(const LexiconDecoder& decoder) {
  const LanguageModel* lm = decoder.lm();
  nodes_.push_back({-1, -1, 0, lm == nullptr ? LmState{} : lm->start(), 0.0, 0.0});
}

Histories::Id Histories::extend(const LexiconDecoder& decoder, Id parent, std::int32_t word) {
  const auto [found, is_new] =
      ids_.try_emplace(key_of(parent, word), static_cast<Id>(nodes_.size()));
  if (!is_new) return found->second;
  const LexiconOptions& options = decoder.options();
  Node node = nodes_[static_cast<std::size_t>(parent)];
  node.parent = parent;
  node.word = word;
  ++node.depth;
  if (decoder.lm() != nullptr) {
    const LmStep step = decoder.lm()->score(node.lm, decoder.unit_of(word));
    node.lm = step.state;
    node.lm_score += static_cast<double>(step.score);
  }
  node.gain =
      options.lm_weight * node.lm_score + options.word_score * static_cast<double>(node.depth);
  nodes_.push_back(node);
  return found->second;
}

std::vector<Histories::Id> Histories::compact(std::vector<bool> marked) {
  // Parents precede their children.
  for (std::size_t id = nodes_.size(); id-- > 1;) {
    if (marked[id]) marked[static_cast<std::size_t>(nodes_[id].parent)] = true;
  }
  marked[kRoot] = true;
  std::vector<Id> moved(nodes_.size(), -1);
  std::size_t kept = 0;
  for (std::size_t id = 0; id < nodes_.size(); ++id) {
    if (!marked[id]) continue;
    Node node = nodes_[id];
    if (id != kRoot) node.parent = moved[static_cast<std::size_t>(node.parent)];
    moved[id] = static_cast<Id>(kept);
    nodes_[kept++] = node;
  }
  nodes_.resize(kept);
  ids_.clear();
  for (std::size_t id = 1; id < kept; ++id) {
    ids_.emplace(key_of(nodes_[id].parent, nodes_[id].word), static_cast<Id>(id));
  }
  return moved;
}

LexiconState::LexiconState(const LexiconDecoder& decoder) : histories(decoder) {
  // As flashlight begins: behind a separator, which may go on.
  const std::int32_t separator = decoder.options().separator;
  const std::int32_t token = separator < 0 ? decoder.options().blank : separator;
  beam.push_back({0.0, 0.0, Histories::kRoot, Lexicon::root(), token, -1, {}});
}

void lexicon_compact(LexiconState& state) {
  constexpr std::size_t kFew = 1U << 14U;
  if (state.histories.size() + state.times.size() < state.next_compact) return;
  std::vector<bool> histories(state.histories.size(), false);
  std::vector<bool> times(state.times.size(), false);
  for (const LexiconHyp& hyp : state.beam) {
    histories[static_cast<std::size_t>(hyp.history)] = true;
    if (hyp.times >= 0) times[static_cast<std::size_t>(hyp.times)] = true;
  }
  const std::vector<Histories::Id> moved = state.histories.compact(std::move(histories));
  for (std::size_t id = state.times.size(); id-- > 0;) {
    const std::int32_t previous = state.times[id].previous;
    if (times[id] && previous >= 0) times[static_cast<std::size_t>(previous)] = true;
  }
  std::vector<std::int32_t> places(state.times.size(), -1);
  std::size_t kept = 0;
  for (std::size_t id = 0; id < state.times.size(); ++id) {
    if (!times[id]) continue;
    LexiconState::Time time = state.times[id];
    if (time.previous >= 0) time.previous = places[static_cast<std::size_t>(time.previous)];
    places[id] = static_cast<std::int32_t>(kept);
    state.times[kept++] = time;
  }
  state.times.resize(kept);
  for (LexiconHyp& hyp : state.beam) {
    hyp.history = moved[static_cast<std::size_t>(hyp.history)];
    if (hyp.times >= 0) hyp.times = places[static_cast<std::size_t>(hyp.times)];
  }
  state.next_compact = 2 * (state.histories.size() + kept) + kFew;
}

}  // namespace mms
