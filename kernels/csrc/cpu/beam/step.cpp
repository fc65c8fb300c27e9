// One frame of the prefix beam.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "../isa/kernels.h"
#include "state.h"

namespace mms {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Gather each hypothesis' last label and parent contributions.
void gather(BeamState& state, const float* log_probs) {
  const std::size_t used = state.used;
  for (std::size_t slot = 0; slot < used; ++slot) {
    state.last_logp[slot] = static_cast<double>(log_probs[state.last[slot]]);
    state.parent_in[slot] = state.now.sums[state.parent_sum[slot]];
    state.parent_path[slot] = state.now.paths[state.parent_sum[slot]];
  }
  for (std::size_t slot = used; slot % kBeamLanes != 0; ++slot) {
    state.last_logp[slot] = 0.0;
    state.parent_in[slot] = state.parent_path[slot] = kNever;
  }
}

/// Advance every hypothesis without a new token; returns the range of scores.
Range stay(BeamState& state, double blank_logp) {
  const BeamFrame& now = state.now;
  BeamFrame& next = state.next;
  const auto count = static_cast<std::int64_t>(state.used);
  const std::int64_t padded = (count + kBeamLanes - 1) / kBeamLanes * kBeamLanes;
  MMS_TABLE(kBeam).paths({now.paths.data() + now.size,
                          now.path_label.data(),
                          state.parent_path.data(),
                          state.last_logp.data(),
                          now.sum.data(),
                          now.peak.data(),
                          now.start.data(),
                          blank_logp,
                          state.frame},
                         {next.paths.data() + next.size,
                          next.path_label.data(),
                          next.paths.data(),
                          next.sum.data(),
                          next.peak.data(),
                          next.start.data(),
                          state.change.data()},
                         padded);
  return MMS_TABLE(kBeam).stay(
      {now.sums.data() + now.size,
       now.label.data(),
       now.sums.data(),
       state.parent_in.data(),
       state.last_logp.data(),
       state.gain.data(),
       blank_logp},
      {next.sums.data() + next.size, next.label.data(), next.sums.data(), state.stay_score.data()},
      padded);
}

/// Add the span of the last label on the path that ends in it.
SpanTree::Id close_span(BeamState& state, std::size_t slot) {
  const BeamFrame& now = state.now;
  const auto frames = static_cast<double>(state.frame - now.start[slot]);
  return state.spans.add(now.label_spans[slot],
                         now.start[slot],
                         state.frame,
                         static_cast<float>(now.sum[slot] / frames),
                         static_cast<float>(now.peak[slot]));
}

/// Slots whose paths change in the given way, listed without branches.
std::span<const std::uint32_t> changed(BeamState& state, std::int64_t how) {
  std::size_t count = 0;
  for (std::size_t slot = 0; slot < state.used; ++slot) {
    state.changed[count] = static_cast<std::uint32_t>(slot);
    count += (state.change[slot] & how) != 0 ? 1 : 0;
  }
  return {state.changed.data(), count};
}

/// Update the spans of the best paths of kept hypotheses.
void follow_paths(BeamState& state) {
  const BeamFrame& now = state.now;
  BeamFrame& next = state.next;
  std::copy_n(now.blank_spans.begin(), state.used, next.blank_spans.begin());
  std::copy_n(now.label_spans.begin(), state.used, next.label_spans.begin());
  for (const std::size_t slot : changed(state, kPathCloses)) {
    state.released.push_back(now.blank_spans[slot]);
    next.blank_spans[slot] = close_span(state, slot);
  }
  for (const std::size_t slot : changed(state, kPathBegins)) {
    const auto parent = static_cast<std::size_t>(state.parent[slot]);
    const BeamFrame& from = state.repeats[slot] != 0 ? now : next;
    const SpanTree::Id spans = from.blank_spans[parent];
    if (spans == now.label_spans[slot]) continue;
    state.spans.acquire(spans);
    state.released.push_back(now.label_spans[slot]);
    next.label_spans[slot] = spans;
  }
}

/// Read a frame as a separator only: every path ends in a blank.
void skip(BeamState& state) {
  BeamFrame& now = state.now;
  for (const std::int32_t slot_id : state.order) {
    const auto slot = static_cast<std::size_t>(slot_id);
    if (now.path_label[slot] > now.paths[now.size + slot]) {
      const SpanTree::Id spans = close_span(state, slot);
      state.spans.release(now.blank_spans[slot]);
      now.blank_spans[slot] = spans;
    }
    now.sums[now.size + slot] = now.sums[slot];
    now.label[slot] = kNever;
    now.paths[now.size + slot] = now.paths[slot];
    now.path_label[slot] = kNever;
  }
}

}  // namespace

void beam_advance(BeamState& state, const BeamScorer& scorer, const float* log_probs) {
  const BeamOptions& options = scorer.options();
  const auto blank_logp = static_cast<double>(log_probs[options.blank]);
  if (options.blank_skip < 1.0 && blank_logp > std::log(options.blank_skip)) {
    skip(state);
  } else {
    gather(state, log_probs);
    const Range range = stay(state, blank_logp);
    state.highest_stay = range.high;
    follow_paths(state);
    // In a full beam, scores below the worst kept hypothesis cannot enter.
    const bool full = std::ssize(state.order) == options.beam_size;
    const double bound = std::max(full ? range.low : kNever, range.high - options.beam_threshold);
    beam_choose(state, scorer, log_probs, bound);
    beam_collect(state, scorer, bound);
    state.selection.select(static_cast<std::size_t>(options.beam_size));
    beam_replace(state, scorer);
    std::swap(state.now, state.next);
  }
  ++state.frame;
  // At fixed frames, so that the chunking does not matter.
  if (options.lookback > 0 && state.frame % 64 == 0) beam_look_back(state, options);
  if (state.frame >= state.next_settle) beam_settle(state, scorer);
}

}  // namespace mms
