// Replacement of the beam by the selected candidates.
#include <algorithm>
#include <limits>

#include "state.h"

namespace mms {
namespace {

/// Number of selected candidates within the threshold of the best.
std::size_t count_kept(const std::vector<Candidate>& best, double threshold) {
  const double least = best[0].score - threshold;
  const auto low = std::find_if(best.begin() + 1, best.end(), [&](const Candidate& candidate) {
    return candidate.score < least;
  });
  return static_cast<std::size_t>(low - best.begin());
}

/// Node of a prefix that enters the beam, with its score.
PrefixTree::Id enter(BeamState& state,
                     const BeamScorer& scorer,
                     PrefixTree::Id parent,
                     std::int32_t token) {
  bool is_new = false;
  const PrefixTree::Id node = state.tree.enter(parent, token, &is_new);
  if (is_new && !scorer.is_plain()) {
    state.scores.extend(scorer, state.tree, parent, token, state.scores.enter(node));
  }
  return node;
}

void make_entry(BeamState& state, const BeamScorer& scorer, std::size_t slot, std::int32_t token) {
  const BeamFrame& now = state.now;
  const BeamChoices& choices = state.choices;
  const bool repeats = token == state.last[slot];
  const SpanTree::Id spans = (repeats ? now : state.next).blank_spans[slot];
  state.spans.acquire(spans);
  const std::size_t from = repeats ? now.size + slot : slot;
  const double logp = choices.log_probs[choices.position[static_cast<std::size_t>(token)]];
  const PrefixTree::Id parent = state.node[slot];
  state.entries.push_back({enter(state, scorer, parent, token),
                           parent,
                           spans,
                           token,
                           repeats,
                           logp,
                           now.sums[from] + logp,
                           now.paths[from] + logp});
}

/// Write an entering hypothesis into the arrays of the next frame.
void place(BeamState& state, const BeamScorer& scorer, const BeamEntry& entry, std::size_t slot) {
  BeamFrame& next = state.next;
  next.clear(slot);
  next.sums[slot] = next.label[slot] = entry.sum;
  next.paths[slot] = next.path_label[slot] = entry.path;
  next.sum[slot] = next.peak[slot] = entry.logp;
  next.start[slot] = state.frame;
  next.label_spans[slot] = entry.spans;
  state.node[slot] = entry.node;
  state.parent_node[slot] = entry.parent_node;
  state.repeats[slot] = entry.repeats ? 1 : 0;
  state.last[slot] = entry.token;
  state.gain[slot] = 0.0;
  if (!scorer.is_plain()) beam_set_gains(state, scorer, slot, state.scores[entry.node]);
  state.tree.set_slot(entry.node, static_cast<std::int32_t>(slot));
}

/// Create the entering hypotheses while the leaving ones still exist, and mark the kept ones. The
/// entering ones are listed first, without branches.
void make_entries(BeamState& state, const BeamScorer& scorer, std::size_t kept) {
  state.entries.clear();
  std::fill_n(state.stays.begin(), state.used, 0);
  state.next_order.resize(kept);
  state.entering.resize(kept);
  std::size_t count = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    const Candidate& candidate = state.selection.best()[i];
    const std::int32_t slot = state.order[static_cast<std::size_t>(candidate.rank)];
    state.next_order[i] = slot;
    state.entering[count] = static_cast<std::int32_t>(i);
    count += candidate.token >= 0 ? 1 : 0;
    std::uint8_t& stays = state.stays[static_cast<std::size_t>(slot)];
    stays = candidate.token < 0 ? 1 : stays;
  }
  state.entering.resize(count);
  for (const std::int32_t i : state.entering) {
    const auto place = static_cast<std::size_t>(i);
    make_entry(state,
               scorer,
               static_cast<std::size_t>(state.next_order[place]),
               state.selection.best()[place].token);
  }
}

/// Drop all hypotheses that are not kept.
void drop_rest(BeamState& state, std::int32_t blank) {
  std::size_t count = 0;
  state.leaving.resize(state.order.size());
  for (const std::int32_t slot : state.order) {
    state.leaving[count] = slot;
    count += state.stays[static_cast<std::size_t>(slot)] == 0 ? 1 : 0;
  }
  for (std::size_t i = 0; i < count; ++i) {
    beam_drop(state, state.next, static_cast<std::size_t>(state.leaving[i]), blank);
  }
}

std::size_t take_slot(BeamState& state) {
  if (state.empty.empty()) return state.used++;
  const auto slot = static_cast<std::size_t>(state.empty.back());
  state.empty.pop_back();
  return slot;
}

/// Assign slots in the order of selection; kept hypotheses keep theirs.
void place_all(BeamState& state, const BeamScorer& scorer) {
  for (std::size_t entry = 0; entry < state.entries.size(); ++entry) {
    const std::size_t slot = take_slot(state);
    place(state, scorer, state.entries[entry], slot);
    state.next_order[static_cast<std::size_t>(state.entering[entry])] =
        static_cast<std::int32_t>(slot);
  }
  state.order.swap(state.next_order);
}

}  // namespace

void beam_drop(BeamState& state, BeamFrame& frame, std::size_t slot, std::int32_t blank) {
  state.tree.leave(state.node[slot]);
  state.spans.release(frame.blank_spans[slot]);
  state.spans.release(frame.label_spans[slot]);
  state.empty.push_back(static_cast<std::int32_t>(slot));
  frame.clear(slot);
  state.node[slot] = state.parent_node[slot] = PrefixTree::kNone;
  state.parent[slot] = -1;
  state.parent_sum[slot] = static_cast<std::uint32_t>(2 * frame.size);
  state.last[slot] = blank;
  state.gain[slot] = std::numeric_limits<double>::quiet_NaN();
}

void beam_link(BeamState& state) {
  const auto size = static_cast<std::uint32_t>(state.now.size);
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    const PrefixTree::Id node = state.parent_node[slot];
    const std::int32_t parent = node == PrefixTree::kNone ? -1 : state.tree[node].slot;
    state.parent[slot] = parent;
    // Branchless: the outcome is unpredictable.
    const std::uint32_t absent = parent < 0 ? ~0U : 0U;
    const std::uint32_t repeats = state.repeats[slot];
    const auto place = static_cast<std::uint32_t>(parent);
    state.parent_sum[slot] = (absent & 2U * size) | (~absent & (place + repeats * size));
  }
}

void beam_replace(BeamState& state, const BeamScorer& scorer) {
  const std::size_t kept = count_kept(state.selection.best(), scorer.options().beam_threshold);
  const std::size_t before = state.order.size();
  make_entries(state, scorer, kept);
  drop_rest(state, scorer.options().blank);
  place_all(state, scorer);
  const bool unchanged = state.entries.empty() && state.order.size() == before;
  if (!unchanged) beam_link(state);
  for (const SpanTree::Id spans : state.released) state.spans.release(spans);
  state.released.clear();
}

}  // namespace mms
