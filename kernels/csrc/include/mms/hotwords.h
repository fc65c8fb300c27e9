// Hotwords: an Aho-Corasick automaton over tokens.
//
// Each occurrence of a phrase, also overlapping or nested, adds its weight (nats) to a hypothesis
// once. A share of the weight is lent while a phrase is in progress, and taken back if it is not
// completed, so that the sum of all bonuses of a finished hypothesis is
//   sum over phrases p of weight(p) * occurrences of p.
//
// With a boundary token (the word separator) a phrase occurs only as whole words: between
// boundaries or the start or end of the stream. A run of boundaries counts as one, in the stream
// and in a phrase; those around a phrase are dropped. Two occurrences may share a boundary.
//
// The bonus of a step from state s to s' is
//   potential(s') - potential(s) + weights of the phrases that end here,
// and that of the end of the stream is the same with potential 0 after it. The potential is the
// lent share: the greatest weight(p) * tokens read / tokens of p over all p in progress, at least
// 0. So a phrase of negative weight lends nothing and is charged at its completion.
//
// Weights and potentials are multiples of 2^-14 (weights are rounded, by at most 3.1e-5) and no
// bonus reaches 1024, so that bonuses are exact in float32 and their sum is exact in float64.
//
// A step takes at most three dependent loads, whatever the number and length of phrases. The
// transitions of a state are a row, and one token stored in the state itself: most states have one
// continuation only and share the row of their failure state. Rows consist of pages of up to 64
// transitions and share unchanged pages with the row they were copied from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mms/hd.h"

namespace mms {

using HotState = std::uint32_t;

struct HotStep {
  HotState state;
  float bonus;  ///< Change of the hypothesis' score, in nats.
};

struct Phrase {
  std::vector<std::int32_t> tokens;
  float weight;
};

/// One state: the phrases in progress.
struct HotNode {
  std::uint32_t row;   ///< Twice the row, plus one if the last token is the boundary.
  std::int32_t token;  ///< Token that leads to `next`, overriding the row; -1 for none.
  HotState next;
  float potential;  ///< Lent share.
  float arrival;    ///< `potential` plus the weights of phrases that end here.
  float finish;     ///< Bonus of the end of the stream.
};

/// Bonuses of the steps from one state: 0 by `silent`, `next` by `token`, else
/// `arrival(id) - potential`. Not owned.
struct HotBonuses {
  const std::uint32_t* row = nullptr;  ///< Page numbers.
  const float* arrivals = nullptr;     ///< By page and token: `arrival` of the next state.
  std::uint32_t page_bits = 0;
  std::int32_t silent = -1;  ///< Boundary after a boundary; -1 for none.
  std::int32_t token = -1;   ///< `HotNode::token`.
  float next = 0.0F;
  float potential = 0.0F;

  const float* page(std::uint32_t number) const {
    return arrivals + (std::size_t{row[number]} << page_bits);
  }
  float arrival(std::int32_t id) const {
    const auto place = static_cast<std::uint32_t>(id);
    return page(place >> page_bits)[place & ((1U << page_bits) - 1U)];
  }
};

/// Automaton as flat arrays, for copies to a device. Not owned.
struct HotwordsView {
  const HotNode* nodes;       ///< [node_count]
  const std::uint32_t* rows;  ///< [row_count * pages_per_row] numbers of pages.
  const HotState* pages;      ///< [page_count << page_bits] states.
  std::uint32_t node_count;
  std::uint32_t row_count;
  std::uint32_t page_count;
  std::uint32_t pages_per_row;
  std::uint32_t page_bits;
  std::int32_t boundary;  ///< -1 for none.
  HotState start;

  /// `token` must be in the vocabulary, and `state` of this automaton.
  MMS_HD HotStep step(HotState state, std::int32_t token) const {
    const HotNode& from = nodes[state];
    if ((from.row & 1U) != 0U && token == boundary) return {state, 0.0F};
    const HotState next = token == from.token ? from.next : in_row(from.row >> 1U, token);
    return {next, nodes[next].arrival - from.potential};
  }

  MMS_HD HotState in_row(std::uint32_t row, std::int32_t token) const {
    const std::uint32_t id = static_cast<std::uint32_t>(token);
    const std::size_t place = static_cast<std::size_t>(row) * pages_per_row;
    const std::size_t page = rows[place + (id >> page_bits)];
    return pages[(page << page_bits) + (id & ((1U << page_bits) - 1U))];
  }

  MMS_HD float finish(HotState state) const { return nodes[state].finish; }
};

/// Immutable and thread-safe.
class Hotwords {
 public:
  /// Weights of equal phrases are added. Without phrases the automaton adds nothing.
  ///
  /// Throws std::invalid_argument for an empty phrase, a token outside [0, vocab), a weight that
  /// is not finite, bonuses that can reach 1024, or an automaton of more than 1 GiB.
  Hotwords(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary = -1);

  HotState start() const { return view_.start; }
  HotStep step(HotState state, std::int32_t token) const { return view_.step(state, token); }
  /// Bonus of the end of the stream, which acts as a boundary and takes back the potential.
  float finish(HotState state) const { return view_.finish(state); }
  HotBonuses bonuses(HotState state) const {
    const HotNode& node = nodes_[state];
    return {rows_.data() + std::size_t{node.row >> 1U} * view_.pages_per_row,
            arrivals_.data(),
            view_.page_bits,
            (node.row & 1U) != 0U ? view_.boundary : -1,
            node.token,
            nodes_[node.next].arrival - node.potential,
            node.potential};
  }
  bool has_one_page() const { return view_.pages_per_row == 1; }
  /// Upper bound of the bonuses of all steps from a state.
  float highest(HotState state) const { return highest_[state]; }
  /// Greatest bonus of any step, at least 0.
  float max_bonus() const { return max_bonus_; }
  std::int32_t vocab() const { return vocab_; }
  /// Size in memory.
  std::size_t bytes() const;
  const HotwordsView& view() const { return view_; }

  Hotwords(const Hotwords&) = delete;
  Hotwords& operator=(const Hotwords&) = delete;

 private:
  std::vector<HotNode> nodes_;
  std::vector<float> highest_;
  std::vector<std::uint32_t> rows_;
  std::vector<HotState> pages_;
  std::vector<float> arrivals_;
  HotwordsView view_{};
  float max_bonus_ = 0.0F;
  std::int32_t vocab_;
};

}  // namespace mms
