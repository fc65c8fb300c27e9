// Phrases to listen for, as one Aho-Corasick automaton over tokens.
//
// Each occurrence of a phrase adds its weight (nats) to a hypothesis, once, overlapping and nested
// ones too. While a phrase is being said, a share of its weight is lent; it is taken back where
// the phrase is not completed, so that the sum of all bonuses of a finished hypothesis is
//   sum over phrases p of weight(p) * occurrences of p.
//
// With a boundary token (the separator of words) a phrase occurs only as whole words: with a
// boundary, or the start or end of the stream, on either side. A run of boundaries counts as one,
// in the stream and in a phrase, and those around a phrase are dropped. Two occurrences may share
// the boundary between them.
//
// The bonus of a step from state s to s' is
//   potential(s') - potential(s) + weights of the phrases that end here,
// and that of the end of the stream the same with potential 0 after it. The potential is what is
// lent: the greatest weight(p) * tokens said / tokens of p over all p in progress, at least 0. So
// a phrase of negative weight lends nothing and is charged where it is complete.
//
// Weights and potentials are multiples of 2^-14 (weights are rounded to it, by at most 3.1e-5) and
// no bonus reaches 1024, so that bonuses are exact in float32 and their sum is in float64: nothing
// drifts, however long the stream is.
//
// A step takes at most three dependent loads, whatever the number of phrases and their length. The
// transitions of a state are a row, but for one token that the state may hold itself: most states
// go on with one token only, and have the row of their failure state. A row is made of pages, and
// shares with the row it was copied from every page that is not its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mms/hd.h"

namespace mms {

using HotState = std::uint32_t;

struct HotStep {
  HotState state;
  float bonus;  ///< What the hypothesis' score changes by, in nats.
};

struct Phrase {
  std::vector<std::int32_t> tokens;
  float weight;
};

/// One state: what has been said of the phrases in progress.
struct HotNode {
  std::uint32_t row;   ///< Twice its row, plus one where the last token is the boundary.
  std::int32_t token;  ///< The one that leads to `next` whatever the row says; -1 for none.
  HotState next;
  float potential;  ///< Lent here.
  float arrival;    ///< `potential`, and the weights of the phrases that end here.
  float finish;     ///< The bonus where the stream ends here.
};

/// The bonuses of the steps from one state: 0 by `silent`, `next` by `token`, else
/// `arrival(id) - potential`. Not owned.
struct HotBonuses {
  const std::uint32_t* row = nullptr;  ///< Page numbers.
  const float* arrivals = nullptr;     ///< By page and token: `arrival` of the next state.
  std::uint32_t page_bits = 0;
  std::int32_t silent = -1;  ///< The boundary after a boundary; -1 for none.
  std::int32_t token = -1;   ///< The token that the row does not decide; -1 for none.
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

/// The automaton as flat arrays that can be copied to a device. Not owned.
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

  /// `token` must be in the vocabulary, `state` one of this automaton's.
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

/// May be shared by any number of threads: nothing changes after construction.
class Hotwords {
 public:
  /// Phrases that are equal add their weights; no phrase at all is allowed and changes nothing.
  ///
  /// Throws std::invalid_argument for an empty phrase, a token outside [0, vocab), a weight that
  /// is not finite, bonuses that can reach 1024, or an automaton of more than 1 GiB.
  Hotwords(const std::vector<Phrase>& phrases, std::int32_t vocab, std::int32_t boundary = -1);

  HotState start() const { return view_.start; }
  HotStep step(HotState state, std::int32_t token) const { return view_.step(state, token); }
  /// The bonus of the end of the stream: it acts as a boundary, and takes back what is lent.
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
  /// The greatest bonus of any step, at least 0.
  float max_bonus() const { return max_bonus_; }
  std::int32_t vocab() const { return vocab_; }
  /// Memory of the automaton.
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
