// Memory of a stream: settling of tokens, and compaction of prefixes and spans.
//
// Everything happens at fixed frames and depends only on the frames before, so that the chunking
// does not change a bit.
#pragma once

#include "state.cuh"

namespace mms::cuda {

/// Tokens are settled at multiples of this number of frames, or when memory is full.
constexpr std::int64_t kSettleFrames = 256;

/// Node of the best hypothesis as of frame `end`; -1 if that is the root.
__device__ inline std::int32_t node_as_of(const BeamWalk& walk, std::int64_t end) {
  const BeamRow& stream = walk.stream;
  const BeamEntry best = walk.entry(0);
  std::int32_t node = best.node;
  if (!ends_in_blank(best.path)) node = parent_of(stream.nodes, node);
  for (std::int32_t id = closed_spans(best.path); id > 0;) {
    const BeamSpan span = stream.spans[id];
    if (span.end <= end) return node;
    node = parent_of(stream.nodes, node);
    id = span.parent;
  }
  return -1;
}

/// Drop hypotheses that differ from the best in tokens older than `lookback` frames. For whole
/// blocks.
__device__ inline void look_back(BeamWalk& walk, std::int64_t lookback) {
  const std::int32_t shared = node_as_of(walk, walk.state.frame - lookback);
  if (shared < 0) return;
  BeamEntry entry{};
  bool alive = thread_id() < walk.state.used;
  if (alive) {
    entry = walk.entry(thread_id());
    std::int32_t node = entry.node;
    while (node > shared) node = parent_of(walk.stream.nodes, node);
    alive = node == shared;
  }
  place(walk, entry, alive);
  __syncthreads();
}

/// Drop all but the best path of the best hypothesis. For whole blocks.
__device__ inline void keep_best(BeamWalk& walk) {
  BeamEntry entry = walk.entry(0);
  if (ends_in_blank(entry.path)) {
    entry.total = entry.blank;
    entry.label = entry.path.label = kNever;
    entry.path.label_spans = -1;
  } else {
    entry.total = entry.label;
    entry.blank = entry.path.blank = kNever;
    entry.path.blank_spans = -1;
  }
  place(walk, entry, thread_id() == 0);
  __syncthreads();
}

/// Compact the marked elements from `root` on; marks become new indices. Returns their number. For
/// whole blocks.
template <typename Element>
__device__ int move_marked(const BeamRow& stream,
                           const Checked<Element>& chain,
                           std::int32_t root,
                           std::int32_t end) {
  const Checked<std::int32_t>& marks = stream.marks;
  int moved = 0;
  for (std::int32_t base = root; base < end; base += block_threads()) {
    const std::int32_t from = base + thread_id();
    const bool kept = from < end && marks[from] > 0;
    Element element{};
    if (kept) element = chain[from];
    const Count count = count_threads(kept);
    const int to = moved + count.before;
    if (kept) marks[from] = to;
    __syncthreads();
    if (kept) {
      element.parent = from == root ? -1 : static_cast<std::int32_t>(marks[element.parent]);
      chain[to] = element;
    }
    moved += count.all;
  }
  __syncthreads();
  return moved;
}

/// Last span shared by all paths, and its number of tokens.
struct BeamSettled {
  std::int32_t span;
  int count;
};

/// Find the settled spans among marked ones: each has one continuation only.
__device__ inline BeamSettled find_settled(const BeamWalk& walk) {
  BeamSettled settled{0, 0};
  std::int32_t span = closed_spans(walk.entry(0).path);
  if (span > 0) settled.span = span;
  while (span > 0) {
    span = parent_of(walk.stream.spans, span);
    ++settled.count;
    if (walk.stream.marks[span] != 1) settled = {span, 0};
  }
  return settled;
}

/// Write the settled tokens. `node` is the best hypothesis' node, `depth` its number of unsettled
/// tokens.
__device__ inline void write_settled(const BeamWalk& walk,
                                     const BeamSettled& settled,
                                     std::int32_t node,
                                     int depth) {
  const TokenArrays& out = walk.stream.args.settled;
  const std::int64_t begin = walk.stream.row * out.capacity + walk.settled;
  std::int32_t id = settled.span;
  for (int i = settled.count - 1; i >= 0; --i) {
    const BeamSpan span = walk.stream.spans[id];
    write_time(out, begin + i, span);
    id = span.parent;
  }
  for (int i = depth - 1; i >= 0; --i) {
    const BeamNode prefix = walk.stream.nodes[node];
    if (i < settled.count) out.ids[begin + i] = prefix.token;
    node = prefix.parent;
  }
}

/// Settle tokens and compact the spans; returns the root of the prefixes still needed. For whole
/// blocks.
__device__ inline std::int32_t settle(BeamWalk& walk) {
  const BeamRow& stream = walk.stream;
  const bool alive = thread_id() < walk.state.used;
  BeamEntry entry{};
  if (alive) entry = walk.entry(thread_id());
  clear_marks(stream, walk.state.spans);
  if (alive) refer(stream, stream.spans, entry.path.blank_spans);
  if (alive) refer(stream, stream.spans, entry.path.label_spans);
  __syncthreads();
  const BeamSettled settled = find_settled(walk);
  std::int32_t node = walk.entry(0).node;
  const int depth = depth_of(stream, node) - walk.state.kept;
  if (thread_id() == 0) write_settled(walk, settled, node, depth);
  __syncthreads();
  walk.state.spans = move_marked(stream, stream.spans, settled.span, walk.state.spans);
  BeamPath& path = entry.path;
  if (alive && path.blank_spans >= 0) path.blank_spans = stream.marks[path.blank_spans];
  if (alive && path.label_spans >= 0) path.label_spans = stream.marks[path.label_spans];
  if (alive) walk.shared.set_entry(thread_id(), entry);
  walk.settled += settled.count;
  walk.state.settled += settled.count;
  for (int i = settled.count; i < depth; ++i) node = parent_of(stream.nodes, node);
  walk.state.kept = 0;
  if (stream.scoring.has_lm == 0 || stream.scoring.scores_words == 0) return node;
  // The open word is still needed.
  for (; node != 0 && walk.state.kept < stream.scoring.longest_word; ++walk.state.kept) {
    const BeamNode prefix = stream.nodes[node];
    if (prefix.token == stream.scoring.separator) break;
    node = prefix.parent;
  }
  return node;
}

/// Compact the prefixes. For whole blocks.
__device__ inline void clear_nodes(BeamWalk& walk, std::int32_t root) {
  const BeamRow& stream = walk.stream;
  const bool alive = thread_id() < walk.state.used;
  BeamEntry entry{};
  if (alive) entry = walk.entry(thread_id());
  clear_marks(stream, walk.state.nodes);
  if (alive) refer(stream, stream.nodes, entry.node);
  __syncthreads();
  walk.state.nodes = move_marked(stream, stream.nodes, root, walk.state.nodes);
  for (int i = thread_id(); i < walk.state.nodes; i += block_threads()) stream.heads[i] = -1;
  __syncthreads();
  for (int i = thread_id(); i < walk.state.nodes; i += block_threads()) {
    BeamNode node = stream.nodes[i];
    node.sibling = i == 0 ? -1 : atomic_exchange(stream.heads, node.parent, i);
    stream.nodes[i] = node;
  }
  if (alive) {
    entry.node = stream.marks[entry.node];
    // A prefix before the root cannot return: every hypothesis is longer.
    const bool known = entry.parent_node >= root;
    entry.parent_node = known ? static_cast<std::int32_t>(stream.marks[entry.parent_node]) : -1;
    walk.shared.nodes[thread_id()] = entry.node;
    walk.shared.set_entry(thread_id(), entry);
  }
  __syncthreads();
}

__device__ inline void collect(BeamWalk& walk) {
  const std::int32_t root = settle(walk);
  __syncthreads();
  clear_nodes(walk, root);
}

/// True if memory suffices until the next compaction.
__device__ inline bool has_room(const BeamWalk& walk) {
  const BeamArgs& args = walk.stream.args;
  const std::int64_t more = kBeamTidyFrames * args.beam_size;
  return walk.state.nodes + more <= args.arena && walk.state.spans + more <= args.arena;
}

/// Compact memory. If that is not enough, drop hypotheses by ever smaller lookbacks. For whole
/// blocks, between barriers.
__device__ inline void tidy(BeamWalk& walk) {
  std::int64_t lookback = walk.stream.args.lookback;
  if (lookback > 0) look_back(walk, lookback);
  if (walk.state.frame % kSettleFrames != 0 && has_room(walk)) return;
  collect(walk);
  if (lookback == 0) lookback = walk.state.frame;
  while (!has_room(walk) && lookback > 0) {
    lookback /= 2;
    look_back(walk, lookback);
    collect(walk);
  }
  if (has_room(walk)) return;
  keep_best(walk);
  collect(walk);
}

}  // namespace mms::cuda
