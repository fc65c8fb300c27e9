// Tokens and frames of hypotheses, stable tokens, lookback.
#include <algorithm>

#include "state.h"

namespace mms {
namespace {

bool ends_in_blank(const BeamFrame& frame, std::size_t slot) {
  return frame.paths[frame.size + slot] >= frame.path_label[slot];
}

/// Closed spans of the better path of a hypothesis.
SpanTree::Id closed_spans(const BeamFrame& frame, std::size_t slot) {
  return ends_in_blank(frame, slot) ? frame.blank_spans[slot] : frame.label_spans[slot];
}

/// Number of tokens of a node after the root.
std::int64_t depth_of(const PrefixTree& tree, PrefixTree::Id id) {
  std::int64_t depth = 0;
  for (; id != tree.root(); id = tree[id].parent) ++depth;
  return depth;
}

/// True if all hypotheses continue through the same child.
bool has_one_way(const PrefixTree::Node& node) { return node.refs == 1 && node.slot < 0; }

/// True if all hypotheses are `id` or descend from it.
bool is_shared(const PrefixTree& tree, PrefixTree::Id id) {
  while (id != tree.root()) {
    id = tree[id].parent;
    if (!has_one_way(tree[id])) return false;
  }
  return true;
}

bool descends(const PrefixTree& tree, PrefixTree::Id id, PrefixTree::Id from) {
  while (id != from && id != tree.root()) id = tree[id].parent;
  return id == from;
}

}  // namespace

void beam_append_tokens(const BeamState& state, std::size_t slot, TimedTokens& tokens) {
  const std::size_t size = tokens.ids.size();
  const auto depth = static_cast<std::size_t>(depth_of(state.tree, state.node[slot]));
  tokens.resize(size + depth);
  std::size_t at = size + depth;
  for (auto id = state.node[slot]; id != state.tree.root(); id = state.tree[id].parent) {
    tokens.ids[--at] = state.tree[id].token;
  }
  at = size + depth;
  const BeamFrame& now = state.now;
  if (!ends_in_blank(now, slot)) {
    --at;
    const auto frames = static_cast<double>(state.frame - now.start[slot]);
    tokens.starts[at] = now.start[slot];
    tokens.ends[at] = state.frame;
    tokens.scores[at] = static_cast<float>(now.sum[slot] / frames);
    tokens.peaks[at] = static_cast<float>(now.peak[slot]);
  }
  for (auto id = closed_spans(now, slot); id != state.spans.root();) {
    const SpanTree::Span& span = state.spans[id];
    --at;
    tokens.starts[at] = span.start;
    tokens.ends[at] = span.end;
    tokens.scores[at] = span.score;
    tokens.peaks[at] = span.peak;
    id = span.previous;
  }
}

std::int64_t beam_stable(const BeamState& state) {
  const PrefixTree& tree = state.tree;
  std::int64_t shared = 0;
  std::int64_t depth = 0;
  for (auto id = state.node[static_cast<std::size_t>(state.order[0])]; id != tree.root();) {
    ++depth;
    id = tree[id].parent;
    if (!has_one_way(tree[id])) shared = depth;
  }
  return static_cast<std::int64_t>(state.settled.ids.size()) + depth - shared;
}

void beam_look_back(BeamState& state, const BeamOptions& options) {
  const auto best = static_cast<std::size_t>(state.order[0]);
  const std::int64_t last_end = state.frame - options.lookback;
  PrefixTree::Id shared = state.node[best];
  if (!ends_in_blank(state.now, best)) shared = state.tree[shared].parent;
  SpanTree::Id span = closed_spans(state.now, best);
  for (; span != SpanTree::kNone; span = state.spans[span].previous) {
    if (span == state.spans.root() || state.spans[span].end <= last_end) break;
    shared = state.tree[shared].parent;
  }
  // A hypothesis of probability 0 has no path.
  if (span == SpanTree::kNone || span == state.spans.root()) return;
  if (is_shared(state.tree, shared)) return;
  state.next_order.clear();
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (descends(state.tree, state.node[slot], shared)) {
      state.next_order.push_back(slot_id);
    } else {
      beam_drop(state, state.now, slot, options.blank);
    }
  }
  state.order.swap(state.next_order);
  beam_link(state);
}

void beam_settle(BeamState& state, const BeamScorer& scorer) {
  constexpr std::int64_t kInterval = 256;
  const auto best = static_cast<std::size_t>(state.order[0]);
  SpanTree::Id span = closed_spans(state.now, best);
  std::vector<SpanTree::Id> chain;
  for (; span != SpanTree::kNone && span != state.spans.root(); span = state.spans[span].previous) {
    chain.push_back(span);
  }
  std::int64_t count = 0;
  while (!chain.empty() && state.spans[state.spans.root()].refs == 1) {
    const SpanTree::Id next = chain.back();
    chain.pop_back();
    state.spans.advance_root(next);
    state.settled.starts.push_back(state.spans[next].start);
    state.settled.ends.push_back(state.spans[next].end);
    state.settled.scores.push_back(state.spans[next].score);
    state.settled.peaks.push_back(state.spans[next].peak);
    ++count;
  }
  std::vector<PrefixTree::Id> path;
  for (auto id = state.node[best]; id != state.tree.root(); id = state.tree[id].parent) {
    path.push_back(id);
  }
  const auto depth = std::ssize(path);
  for (; count > 0; --count) {
    const PrefixTree::Id next = path.back();
    path.pop_back();
    const std::int32_t token = state.tree[next].token;
    state.scores.advance_root(scorer, token);
    state.tree.advance_root(next);
    state.settled.ids.push_back(token);
  }
  // Rarely enough that the walk over unsettled tokens costs nothing per frame.
  state.next_settle = state.frame + std::max<std::int64_t>(kInterval, 2 * depth);
}

}  // namespace mms
